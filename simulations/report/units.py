"""Seconds and bytes, for people."""


def span(seconds: float) -> str:
    """A duration with three digits, in milliseconds or seconds."""
    if seconds == 0:
        return "0 s"
    if seconds < 0.9995:
        return f"{seconds * 1000:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 999.5 else f"{seconds:,.0f} s"


def size(count: float) -> str:
    """Bytes with three digits, in B, kB (a thousand) or MB."""
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if count >= factor * 0.9995:
            return f"{count / factor:,.3g} {unit}" if count < 999.5 * factor else f"{count / factor:,.0f} {unit}"
    return f"{count:.3g} B"
