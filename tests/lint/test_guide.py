"""The code that the programming guide shows is the code that tests/unit/guide_test.cc compiles and runs."""

import os
import re

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def text_of(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def test_each_piece_of_code_in_the_guide_is_compiled_and_run():
    pieces = re.findall(r"^```cpp\n(.*?)^```$", text_of("docs/programming-guide.md"), re.M | re.S)
    compiled = text_of("tests/unit/guide_test.cc")
    assert len(pieces) >= 10
    for piece in pieces:
        code = piece.replace("#include <millrace/job.h>\n\n", "")
        assert code in compiled, f"tests/unit/guide_test.cc lacks this piece of the guide:\n{piece}"
