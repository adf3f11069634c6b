#!/bin/sh
# Prints where this machine's apt gets Debian's own packages from, the release first, as lines of a sources.list.
set -eu
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
apt-get indextargets --format '$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)' 'Created-By: Packages' |
    awk -F '|' -v suite="$suite" '$1 == "Debian" && index($3, suite) == 1 && $4 == "main" && !seen[$2 $3]++ {
        line = "deb " $2 " " $3 " main"
        if ($3 == suite) print line; else later = later line "\n"
    } END { printf "%s", later }'
