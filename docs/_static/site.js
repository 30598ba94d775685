// A page that was opened from a folder may not read other files, so search shows excerpts only where the site is served.
DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = location.protocol !== "file:";
