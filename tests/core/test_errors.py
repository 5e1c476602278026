"""User mistakes end in one message and exit code 2; programming mistakes keep their traceback."""

import errno

import pytest

from mmifn.core.errors import ArtefactError, UserError, listed, user_main


def raising(error):
    @user_main
    def main(argv=None):
        if isinstance(error, BaseException):
            raise error
        return error

    return main


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UserError("a.csv lacks the column MOS"), 2, "error: a.csv lacks the column MOS\n"),
        (ArtefactError("cache gone"), 2, "error: cache gone\n"),
        (OSError(errno.ENOSPC, "no", "out.pt"), 2, "out.pt: No space left on device"),
        (PermissionError(errno.EACCES, "no", "x"), 2, "x: Permission denied"),
        (KeyboardInterrupt(), 130, "run the same command again"),
    ],
)
def test_a_mistake_is_one_message_and_a_code(error, code, words, capsys):
    assert raising(error)([]) == code
    out, err = capsys.readouterr()
    assert words in err and "Traceback" not in err and not out


def test_success_passes_its_code_through():
    assert raising(0)() == 0
    assert raising(7)([]) == 7


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("a bug"), OSError("without errno or file")])
def test_bugs_keep_their_traceback(error):
    with pytest.raises(type(error)):
        raising(error)([])


def test_long_lists_are_cut_and_counted():
    assert listed(["a", 2]) == "  a\n  2"
    rows = listed(range(23)).split("\n")
    assert len(rows) == 21 and rows[19] == "  19" and rows[20] == "  … and 3 more"
    assert listed(range(20)).count("\n") == 19
