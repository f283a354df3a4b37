"""What doxygen is given of a header: our // comments as its own. A block at the top of a file is about the file. What
follows a comment without a blank line in between shares it. Lines that are indented stay as they stand, and nothing in
a comment is a command. What is private is left out.

usage: reference_filter.py FILE"""

import re
import sys

COMMENT = re.compile(r"^(\s*)// ?(.*)$")
BEHIND_CODE = re.compile(r"^(.*\S  +)// (.*)$")
RULER = re.compile(r"^-{3,} .* -{3,}$")
TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)\'')


def escaped(text):
    """Code in back quotes stays as it is; nothing else is taken for markup."""
    pieces = text.split("`")
    for i in range(0, len(pieces), 2):
        pieces[i] = re.sub(r"([\\@<>#&*_])", r"\\\1", pieces[i])
    return "`".join(pieces)


def shown(text):
    return "    " + text if text.startswith("  ") else escaped(text)


class Filter:
    def __init__(self):
        self.out = []
        self.behind = None  # the column of a comment behind code that the line above ended with
        self.depth = 0  # of brackets
        self.groups = []  # depths of those that are open
        self.hidden = None  # the depth of a private part

    def end_group(self):
        if self.groups and self.groups[-1] == self.depth:
            self.groups.pop()
            self.out.append("///@}")

    def add_comment(self, indent, text):
        if self.hidden is not None:
            return
        if self.behind is not None and len(indent) == self.behind:
            self.out.append(f"{indent}///< {escaped(text)}")
            return
        self.behind = None
        if RULER.match(text):
            self.end_group()
            return
        if not self.out or not self.out[-1].lstrip().startswith("/// "):
            self.end_group()
            self.groups.append(self.depth)
            self.out += ["", "///@{"]  # or it would be the same comment as what stands above
        self.out.append(f"{indent}/// {shown(text)}")

    def add_code(self, line):
        code, comment = line, None
        if match := BEHIND_CODE.match(line):
            code, comment = match[1], match[2]
        bare = TEXT.sub("", code)
        access = re.match(r"^\s*(public|private|protected):", bare)
        if access or not bare.strip():
            self.end_group()
        opened = 0
        for character in bare:
            opened += (character in "{(") - (character in "})")
            if self.groups and self.depth + opened < self.groups[-1]:
                self.groups.pop()
                self.out.append("///@}")
            if self.hidden is not None and self.depth + opened < self.hidden:
                self.hidden = None
        self.depth += opened
        if access and self.hidden in (None, self.depth):  # and not of a class in a private part
            self.hidden = None if access[1] == "public" else self.depth
        if self.hidden is not None:
            return
        self.behind = len(code) if comment else None
        self.out.append(f"{code}///< {escaped(comment)}" if comment else line)

    def add_file(self, lines):
        first = 0
        if lines and COMMENT.match(lines[0]):
            self.out.append("/// \\file")
            while first < len(lines) and (match := COMMENT.match(lines[first])):
                self.out.append(f"/// {shown(match[2])}")
                first += 1
        for line in lines[first:]:
            if match := COMMENT.match(line):
                self.add_comment(match[1], match[2])
            else:
                self.add_code(line)
        self.out += ["///@}"] * len(self.groups)
        return "\n".join(line.rstrip() for line in self.out)


with open(sys.argv[1], encoding="utf-8") as file:
    print(Filter().add_file(file.read().splitlines()))
