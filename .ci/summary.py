"""Print the counts of junit reports as one line, "ci: N passed, N failed, N skipped"; fail where nothing was run."""

import sys
from xml.etree import ElementTree

counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
for path in sys.argv[1:]:
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        for key in counts:
            counts[key] += int(suite.get(key, 0))
bad = counts["failures"] + counts["errors"]
passed = counts["tests"] - bad - counts["skipped"]
print(f"ci: {passed} passed, {bad} failed, {counts['skipped']} skipped")
sys.exit(passed == 0)
