"""The metrics of several replicas as one page, for whoever can reach only one of them at a time."""

from __future__ import annotations

from collections.abc import Mapping


def merged(pages: Mapping[str, bytes]) -> bytes:
    """Pages in Prometheus' text format by replica as one, every sample with the label `replica`.

    The samples of a metric stand together, as the format wants it, whichever replicas have them.
    """
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for replica, page in pages.items():
        metric = ""
        for line in page.decode().splitlines():
            if line.startswith("# "):
                metric = line.split(" ", 3)[2]
                head = heads.setdefault(metric, [])
                if line not in head:
                    head.append(line)
            elif line:
                samples.setdefault(metric, []).append(_labelled(line, replica))
    lines = [line for metric, head in heads.items() for line in (*head, *samples.get(metric, ()))]
    return "".join(f"{line}\n" for line in lines).encode()


def _labelled(sample: str, replica: str) -> str:
    """`name{a="b"} 1` or `name 1`; a name has neither a brace nor a space."""
    end = next(place for place, char in enumerate(sample) if char in "{ ")
    rest = sample[end + 1 :] if sample[end] == "{" else f"}}{sample[end:]}"
    comma = "" if rest.startswith("}") else ","
    return f'{sample[:end]}{{replica="{replica}"{comma}{rest}'
