"""What a setting may be: each rule is a function of a value that returns "" if it is allowed, else what would be."""

import difflib
import math
import operator
import reprlib

SHORT = reprlib.Repr()  # of a value in a message: of an array its corner
SHORT.maxlevel, SHORT.maxlist = 2, 3


def must_be(words, test, or_none=False):
    """Return the rule that a value passes a test."""
    reason = f"it must be {words}" + " or None" * or_none
    return lambda value: "" if (or_none and value is None) or test(value) else reason


def whole(low, high=math.inf, odd=False, or_none=False):
    """Return the rule for an integer within limits that are allowed themselves."""
    limit = f"of at least {low}" if high == math.inf else f"between {low} and {high}"

    def fits(value):
        return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high and value % 2 >= odd

    return must_be(f"an {'odd ' * odd}integer {limit}", fits, or_none)


def number(or_none=False, **limits):
    """Return the rule for a number within limits: above, at_least, below, at_most."""
    compare = dict(above=operator.gt, at_least=operator.ge, below=operator.lt, at_most=operator.le)
    words = " and ".join(f"{name.replace('_', ' ')} {limit:.4g}" for name, limit in limits.items())

    def fits(value):
        return is_number(value) and all(compare[name](value, limit) for name, limit in limits.items())

    return must_be(f"a number {words}", fits, or_none)


def choice(*options):
    """Return the rule for one of some values. 1 == True in Python, but 1 where a switch is meant is a slip."""
    words = "one of " + ", ".join(map(repr, options))
    return must_be(words, lambda value: any(type(value) is type(o) and value == o for o in options))


def passes(check):
    """Return the rule that a function does not raise an error, or None; what it raises says what is wrong."""

    def rule(value):
        try:
            if value is not None:
                check(value)
        except (TypeError, ValueError) as error:
            return str(error)
        return ""

    return rule


def refuse(name, value, reason):
    """Raise the ValueError for a setting, unless the reason is empty."""
    if reason:
        raise ValueError(f"{name} = {SHORT.repr(value)} is not possible: {reason}")


def nearest(name, known):
    """Return the advice for a name that is not known."""
    near = difflib.get_close_matches(str(name), known, 1)
    return f"did you mean {near[0]!r}?" if near else f"allowed are {', '.join(known)}"


def is_number(value):
    """Return whether a value is a finite number, and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -math.inf < value < math.inf


SWITCH = choice(True, False)
