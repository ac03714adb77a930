"""Values of an exposition, by name and labels, as the client's own parser reads them."""

from __future__ import annotations


class Exposed:
    """One exposition."""

    def __init__(self, content: bytes) -> None:
        # Imported here: who imports this may yet skip for want of it.
        from prometheus_client.parser import text_string_to_metric_families

        self.families = list(text_string_to_metric_families(content.decode()))
        self.values = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        """The value of `hyperseg_NAME`, or None if there is none with exactly these labels."""
        return self.values.get((f"hyperseg_{name}", frozenset(labels.items())))

    def labelled(self, name: str, label: str) -> dict[str, float]:
        """The values of `hyperseg_NAME` by one of its labels."""
        return {
            dict(labels)[label]: value
            for (sample, labels), value in self.values.items()
            if sample == f"hyperseg_{name}"
        }

    @property
    def series(self) -> set[tuple[str, frozenset[tuple[str, str]]]]:
        """What distinguishes the values; each costs a server memory."""
        return set(self.values)

    @property
    def names(self) -> set[str]:
        """Names of all metrics that may have values, as a query writes them."""
        found = set()
        for family in self.families:
            if family.type == "histogram":
                found |= {f"{family.name}_{part}" for part in ("bucket", "count", "sum")}
            else:
                found.add(f"{family.name}_total" if family.type == "counter" else family.name)
        return found
