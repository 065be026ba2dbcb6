"""What is hostile: values, tokens and cells that lie, and ways to hurt data, bytes and texts with them."""

import os


class Runs:
    """An object whose pickle runs a command."""

    def __reduce__(self):
        return os.system, ("touch hacked",)


def deep(levels, ends="[]"):
    return ends[0] * levels + ends[1] * levels


VALUES = [
    None, True, -1, 0, 10**18, 10**400, 1e308, -1e308, 0.1, "", "x" * 100_000, "NaN", "Infinity", "1",
    "../../x", "/x", "\x1b[2J\u202e\x00", "os:system", "builtins:exec", [], {}, [[]], [{}], [[[[[[1]]]]]],
    [1] * 10_000,
    {"a": 1}, {"name": "x"}, {"": ""}, {"../x": {}}, [None], ["a", "a"], {"sha256": "0"},
]  # fmt: skip
TOKENS = [
    "&a [*a]", "*a", "<<: *a", "!!python/object/apply:os.system ['touch hacked']", "!!int x", "!!binary x",
    "? [a]", deep(300), deep(300, "{}"), "9" * 5000, "1e400", "'" + "-" * 1900 + "'", "seeds: 1000000000",
    "- " * 500,
    "os:system", "'random(x=" + "-" * 900 + "1)'", "\x00", "\t", "%YAML 9", "---", "...", "\u2028",
    "x" * 200_000, "[" + "0.5," * 20_000 + "]", "{" + "a: 1," * 20_000 + "}", "../../x",
]  # fmt: skip
CELLS = [
    "=1+1", "9" * 5000, "1,2" * 4000, "±" * 3000, "NaN", "inf", "-inf", "1e999", "[x](" * 3000, '"',
    "\x1b[2J", "x" * 100_000, "0.5" * 2000, "%" * 5000, " " * 50_000, "\x00", "sparsity", "accuracy", "-",
    "|", "1/0", "a\u202eb",
]  # fmt: skip


def mutated(draw, data):
    """A copy of plain data with one part of it exchanged, taken out, or another put in."""
    if isinstance(data, dict) and data and draw.random() < 0.85:
        copy, key = dict(data), draw.choice(list(data))
        how = draw.random()
        if how < 0.1:
            del copy[key]
        elif how < 0.2:
            copy[draw.choice(["more", "", "../x", "name", "x" * 300])] = draw.choice(VALUES)
        else:
            copy[key] = mutated(draw, copy[key])
        return copy
    if isinstance(data, list) and data and draw.random() < 0.8:
        place = draw.randrange(len(data))
        return [*data[:place], mutated(draw, data[place]), *data[place + 1 :]]
    return draw.choice(VALUES)


def hurt(draw, content):
    """Bytes that are torn, flipped, doubled or filled with something else."""
    for _ in range(draw.choice((1, 1, 2, 5))):
        place, how = draw.randrange(max(len(content), 1)), draw.random()
        if how < 0.25:
            content = content[:place]
        elif how < 0.7 and content:
            content = (
                content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]
            )
        elif how < 0.85:
            content = content[:place] + draw.randbytes(draw.choice((1, 8, 1000))) + content[place:]
        else:
            content = content[:place] + content[: draw.randrange(len(content) + 1)] + content[place:]
    return content


def spliced(draw, text, tokens):
    """A text with tokens put into it at random, or one of its lines exchanged for one."""
    lines = text.split("\n")
    for _ in range(draw.choice((1, 1, 2))):
        place, token = draw.randrange(len(lines)), draw.choice(tokens)
        head, colon, rest = lines[place].partition(draw.choice((":", ",", " ")))
        lines[place] = draw.choice((token, f"{head}{colon}{token}", f"{head}{colon}{token}{rest}"))
    return "\n".join(lines)
