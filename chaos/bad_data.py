"""Workers that are killed or hang, samples that can't be read, numbers that are not numbers: each must be named as what it is, and where it is."""
import json
import os
import re
import tempfile

from kills import final_state, finish, log_of, same, start


def _run(backend, epochs, **settings):
    "(what the run itself found, its log, its state at the end if it got there)."
    with tempfile.TemporaryDirectory() as home:
        folder, report = os.path.join(home, "run"), os.path.join(home, "report.json")
        if settings.get("fault"):
            settings["fault"]["marks"] = os.path.join(home, "marks")
            os.makedirs(settings["fault"]["marks"])
        finish(start(folder, backend, epochs=epochs, report=report, **settings))
        with open(report, encoding="utf-8") as file: found = json.load(file)
        return found, log_of(folder), None if "error" in found else final_state(folder)


def workers(backend, kind, faults, epochs, expected, dice):
    "Workers that are killed, or hang, while they prepare a sample."
    tokens = sorted(dice.sample(range(400), faults))
    _, log, state = _run(backend, epochs, fault={"kind": kind, "tokens": tokens})
    what = "died \\(exit code -9\\)" if kind == "killed" else "gave no sign of life for 2 s"
    named = {int(token) for token in re.findall(f"Worker \\d+ {what} while it prepared the sample (\\d+)\\.", log)}
    return {"faults": faults, "named with the sample": len(named & set(tokens)), "named wrongly": len(named - set(tokens)), "identical": same(state, expected)}


def samples(backend, epochs, expected, dice):
    "One sample in a hundred can't be read: once, or never; with each policy."
    tokens = sorted(dice.sample(range(400), 4))
    once, _, state = _run(backend, epochs, fault={"kind": "raises once", "tokens": tokens})
    found = {"raised once": len(tokens), "read when tried again": once["retried"], "identical": same(state, expected)}
    never, _, _ = _run(backend, epochs, fault={"kind": "raises", "tokens": tokens})
    token = re.search(r"sample token (\d+): OSError: image (\d+) can't be read", never.get("error", ""))
    found["policy raise names the sample"] = bool(token) and int(token[1]) == int(token[2]) and int(token[1]) in tokens
    left_out, _, _ = _run(backend, epochs, fault={"kind": "raises", "tokens": tokens}, on_error="quarantine")
    found["policy quarantine leaves out exactly those"] = sorted(left_out["quarantined"]) == tokens and "error" not in left_out
    return found


def poison(backend, rounds, dice):
    "A number that is not a number, in a layer and a sample drawn at random: the step, the layer and the sample must be named."
    found = {"planted": rounds, "step named": 0, "layer named": 0, "sample named": 0}
    for _ in range(rounds):
        token, layer = dice.randrange(400), dice.randrange(5)
        told, _, _ = _run(backend, 1, poison=[token, layer])
        text = told.get("error", "")
        found["step named"] += f"in step {told.get('step')} of epoch 1" in text
        found["layer named"] += f"the output of /traps/{layer} (Trap)" in text
        batch = re.search(r"with the samples \[([\d, ]*)\]", text)
        found["sample named"] += bool(batch) and token in map(int, batch[1].split(","))
    return found
