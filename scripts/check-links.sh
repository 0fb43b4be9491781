#!/usr/bin/env bash
# Fails when a Markdown file of this repository links to a file, or to a heading of a file, that isn't there.
set -euo pipefail
cd "$(dirname "$0")/.."

# anchors FILE: its headings as GitHub makes anchors of them.
anchors() {
    sed -n 's/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'
}

failed=0
while IFS=: read -r file link; do
    target=${link#*](} && target=${target%)}
    [[ $target == *://* || $target == mailto:* ]] && continue
    path=${target%%#*} anchor=
    [[ $target == *#* ]] && anchor=${target#*#}
    path=${path:+$(dirname "$file")/$path} && path=${path:-$file}
    if [ ! -e "$path" ]; then
        echo "$file: $target: there is no such file" >&2 && failed=1
    elif [ -n "$anchor" ] && [ -f "$path" ] && ! anchors "$path" | grep -qxF -- "$anchor"; then
        echo "$file: $target: there is no such heading" >&2 && failed=1
    fi
done < <(git ls-files -z --cached --others --exclude-standard '*.md' | xargs -0 grep -Ho '](\([^) ]*\))')
exit $failed
