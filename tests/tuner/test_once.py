"""What follows from trials is computed once for each, whatever list they are in."""

from tuner.once import Each, Latest, begins_with


class One:
    """A trial."""

    def __init__(self, value: int) -> None:
        self.value = value


def test_what_follows_from_each_is_computed_once_and_in_the_order_of_the_list() -> None:
    made: list[int] = []

    def value(one: One) -> int:
        made.append(one.value)
        return one.value

    each, some = Each(value), [One(1), One(2), One(3)]
    assert list(each(some[:2])) == [1, 2]
    assert list(each(some)) == [1, 2, 3]
    assert list(each(some[1:])) == [2, 3]
    assert list(each([some[2], some[0]])) == [3, 1]
    assert list(each([])) == []
    assert made == [1, 2, 3]


def test_what_follows_from_a_list_is_computed_anew_where_the_list_is_another_one() -> None:
    some = [One(1), One(2)]
    made: list[int] = []

    def total(of: list[One]) -> int:
        made.append(len(of))
        return sum(one.value for one in of)

    latest = Latest(total)
    assert [latest(some), latest(list(some)), latest(some[:1]), latest([One(1)])] == [3, 3, 1, 1]
    some[0] = One(5)
    assert latest(some) == 7
    assert made == [2, 1, 1, 2]


def test_a_list_begins_with_the_very_ones_of_another() -> None:
    some = [One(1), One(2)]
    assert begins_with(some, some[:1])
    assert begins_with(some, [])
    assert not begins_with(some[:1], some)
    assert not begins_with(some, [One(1)])
