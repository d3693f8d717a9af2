"""Damage to files, for hypothesis to draw."""

from hypothesis import strategies as st

_PIECES = st.one_of(
    st.binary(min_size=1, max_size=4),
    st.sampled_from([b"\n", b"\r", b"\r\n", b"\0", b"}\n", b" ", b"\xc2\x85", b"{}\n"]),
)
_PLACES = st.one_of(st.integers(0, 40), st.integers(0, 20_000))
_CHANGES = st.one_of(
    st.tuples(st.just("flip"), _PLACES, st.integers(0, 7)),
    st.tuples(st.just("insert"), _PLACES, _PIECES),
    st.tuples(st.just("delete"), _PLACES, st.integers(1, 600)),
    st.tuples(st.just("cut"), _PLACES, st.none()),
    st.tuples(st.just("splice"), _PLACES, st.tuples(_PLACES, _PLACES)),
)
DAMAGE = st.lists(_CHANGES, min_size=1, max_size=3)


def damaged(content, damage):
    """Return bytes after up to three changes."""
    for kind, place, what in damage:
        place %= len(content) + 1
        before, after = content[:place], content[place:]
        if kind == "flip":
            content = before + bytes(byte ^ 1 << what for byte in after[:1]) + after[1:]
        elif kind == "insert":
            content = before + what + after
        elif kind == "delete":
            content = before + after[what:]
        elif kind == "splice":  # a part of itself
            start, stop = sorted(k % (len(content) + 1) for k in what)
            content = before + content[start:stop] + after
        else:
            content = before
    return content
