"""Cache writes that do what none may: each in one way."""

from typing import ClassVar

from attnbench.kernels.cache_write.torch_scatter import TorchScatter
from attnbench.kernels.cache_write_base.keys_values import KeyValueWrite


class Faulty(TorchScatter):
    """A right write of keys and values, with what `also` does after each launch of a set."""

    name: ClassVar = "faulty"

    def write_keys_values(self, write: KeyValueWrite) -> KeyValueWrite:
        write = super().write_keys_values(write)
        right = write.calls

        def launch(index: int) -> None:
            right[index]()
            self.also(write, index)

        return write.written_by(launch)

    def also(self, write: KeyValueWrite, index: int) -> None:
        """Nothing yet."""


class Straying(Faulty):
    """Writes one byte of a slot to which no token was sent."""

    name: ClassVar = "straying"

    def also(self, write: KeyValueWrite, index: int) -> None:
        taken = set(write.slots.mapping.flatten().tolist())
        free = next(slot for slot in range(len(taken) + 1) if slot not in taken)
        page, offset = divmod(free, write.block_size)
        where = (page, 0, offset, 0, 0) if write.layout == "NHD" else (page, 0, 0, offset, 0)
        write.pool.pages[where] = 0


class Skipping(Faulty):
    """Leaves the last token's slot as it was."""

    name: ClassVar = "skipping"

    def also(self, write: KeyValueWrite, index: int) -> None:
        write.pool.poison(write.slots.pages[index, -1:], write.slots.offsets[index, -1:])


class Padding(Faulty):
    """Takes -1 for a slot, as Python does: the last of the cache."""

    name: ClassVar = "padding"

    def also(self, write: KeyValueWrite, index: int) -> None:
        write.cache[-1, :, -1] = write.new[index, :, -1]


class Underrunning(Faulty):
    """Takes -1 for a slot, as pointers do: in front of the cache."""

    name: ClassVar = "underrunning"

    def also(self, write: KeyValueWrite, index: int) -> None:
        pages = write.pool.pages
        before = pages.as_strided((1,), (1,), pages.storage_offset() - 1)
        before[:] = 0


class Swapping(Faulty):
    """Puts keys where values belong."""

    name: ClassVar = "swapping"

    def also(self, write: KeyValueWrite, index: int) -> None:
        pages = write.pool.pages
        pages[:] = pages.flip(1)


class Late(Faulty):
    """Is right until it is timed, then strays."""

    name: ClassVar = "late"
    launches = 0

    def write_keys_values(self, write: KeyValueWrite) -> KeyValueWrite:
        self.launches = 0  # a backend outlives its cases
        return super().write_keys_values(write)

    def also(self, write: KeyValueWrite, index: int) -> None:
        self.launches += 1
        if self.launches > _CHECKED:
            Straying().also(write, index)


class Emptying(Late):
    """Is right until it is timed, then zeroes its inputs and writes zeros."""

    name: ClassVar = "emptying"

    def also(self, write: KeyValueWrite, index: int) -> None:
        self.launches += 1
        if self.launches > _CHECKED:
            write.new.zero_()
            write.cache[write.slots.pages[index], :, write.slots.offsets[index]] = 0


_CHECKED = 2  # launches before timing: a first one, and the one that is checked
