"Packaging: every value comes from settings.ini."
from configparser import ConfigParser

from setuptools import find_packages, setup

config = ConfigParser(delimiters=["="])
config.read("settings.ini", encoding="utf-8")
c = config["DEFAULT"]

setup(
    name=c["lib_name"],
    version=c["version"],
    description=c["description"],
    long_description=open("README.md", encoding="utf-8").read(),
    long_description_content_type="text/markdown",
    author=c["author"],
    license="MIT",
    url=c["git_url"],
    keywords=c["keywords"],
    packages=find_packages(include=["babilim", "babilim.*"]),
    package_data={"babilim": ["py.typed"], "babilim.fashion_mnist": ["sample.npz", "sample.LICENSE"]},
    python_requires=">=" + c["min_python"],
    install_requires=c["requirements"].split(),
    extras_require={
        **{extra: c[f"{extra}_requirements"].split() for extra in ("pytorch", "tf", "dev")},
        "docs": [f"{package}; python_version >= '3.11'" for package in c["docs_requirements"].split()],  # as Sphinx 9
    },
    entry_points={"console_scripts": ["babilim=babilim.__main__:main"],
                  "nbdev": [f"{c['lib_path']}={c['lib_path']}._modidx:d"]},
)
