"""What detectors add up over a run of any length, in bounded memory: costs by operation, covered time, request ids."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable

from tinkertape.diagnosis.records import OperationKey

PIECES_MAX = 256
IDS_SHOWN = 20  # in a finding's evidence
IDS_KNOWN = 1000


class Costs:
    """What a trouble cost each operation, and all of them. `most`: only so many, the newest, are named (None: all)."""

    def __init__(self, most: int | None = None) -> None:
        self.by_operation: dict[OperationKey, int] = {}
        self.total_ns = 0
        self._most = most
        self._whole: set[OperationKey] = set()

    def add(self, key: OperationKey, ns: int) -> None:
        """It cost this operation so much more."""
        if key not in self._whole:
            self._put(key, self.by_operation.get(key, 0) + ns)

    def put(self, key: OperationKey, ns: int) -> None:
        """It cost this operation so much, and that is all."""
        self._whole.add(key)
        self._put(key, ns)

    def _put(self, key: OperationKey, ns: int) -> None:
        self.total_ns += ns - self.by_operation.get(key, 0)
        self.by_operation[key] = ns
        if self._most is not None and len(self.by_operation) > self._most:
            oldest = next(iter(self.by_operation))
            del self.by_operation[oldest]
            self._whole.discard(oldest)


class Covered:
    """The union of intervals: how long at least one of them lasted. Of many pieces the earliest become one figure."""

    def __init__(self) -> None:
        self._began: list[int] = []
        self._ended: list[int] = []
        self._before_ns = 0  # the length of the pieces that are only counted
        self._since_ns = 0  # where they end

    def add(self, began_ns: int, ended_ns: int) -> None:
        """One interval more."""
        began_ns = max(began_ns, self._since_ns)
        if ended_ns <= began_ns:
            return
        low, high = bisect_left(self._ended, began_ns), bisect_right(self._began, ended_ns)
        if low < high:  # it touches these
            began_ns, ended_ns = min(began_ns, self._began[low]), max(ended_ns, self._ended[high - 1])
        self._began[low:high], self._ended[low:high] = [began_ns], [ended_ns]
        if len(self._began) > PIECES_MAX:
            self._since_ns = self._ended[0]
            self._before_ns += self._ended.pop(0) - self._began.pop(0)

    def length_ns(self, until_ns: int | None = None, since_ns: int = 0) -> int:
        """The length of the union; with `until_ns`, [since, until) counts too."""
        length = self._before_ns + sum(self._ended) - sum(self._began)
        if until_ns is None or until_ns <= since_ns:
            return length
        since_ns = max(since_ns, self._since_ns)
        inside = (
            min(ended, until_ns) - max(began, since_ns)
            for began, ended in zip(self._began, self._ended, strict=True)
            if ended > since_ns and began < until_ns
        )
        return length + max(0, until_ns - since_ns) - sum(inside)


class RequestIds:
    """Requests that a finding touched: how many, and the ids of the first and of the newest ones."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []
        self._newest: dict[str, None] = {}

    def add(self, ids: Iterable[str | None]) -> None:
        """Count those that are not known."""
        for request_id in ids:
            if request_id and request_id not in self._newest:
                self.count += 1
                self._newest[request_id] = None
                if len(self.first) < IDS_SHOWN:
                    self.first.append(request_id)
                if len(self._newest) > IDS_KNOWN:
                    del self._newest[next(iter(self._newest))]

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._newest
