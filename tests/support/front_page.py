"""The front of a report in a browser: what it draws, and a pointer over its points."""

from collections.abc import Mapping
from typing import Any

from playwright.sync_api import Page


def traces(page: Page) -> dict[str, Any]:
    """Return what the front draws at the moment, by its name in the legend."""
    drawn = page.evaluate(
        """() => document.querySelector('#front .plot').data.map((trace) => ({
            name: trace.name, x: trace.x, y: trace.y, text: trace.text, customdata: trace.customdata,
            color: trace.marker && trace.marker.color, axis: trace.marker && trace.marker.coloraxis,
            opacity: trace.marker && trace.marker.opacity }))"""
    )
    return {trace["name"]: trace for trace in drawn}


def place(page: Page, number: int) -> Mapping[str, float]:
    """Return where a point of the front is in the window, and scroll there."""
    page.locator("#front .plot").scroll_into_view_if_needed()
    found: Mapping[str, float] = page.evaluate(
        """(number) => {
            const plot = document.querySelector('#front .plot');
            const trace = plot.data.find((one) => one.customdata && one.customdata.includes(number));
            const at = trace.customdata.indexOf(number);
            const { xaxis, yaxis } = plot._fullLayout;
            const box = plot.querySelector('.plotly').getBoundingClientRect();
            return { x: box.left + xaxis._offset + xaxis.d2p(trace.x[at]),
                     y: box.top + yaxis._offset + yaxis.d2p(trace.y[at]) };
        }""",
        number,
    )
    return found


def hover(page: Page, number: int, title: str) -> str:
    """Move to a point, wait for its text and return it."""
    at = place(page, number)
    page.mouse.move(at["x"] + 40, at["y"] + 40)
    page.mouse.move(at["x"], at["y"], steps=4)
    shown: str = page.wait_for_function(
        """(title) => {
            const shown = document.querySelector('#front .hoverlayer .hovertext');
            return shown && shown.textContent.includes(title) && shown.textContent;
        }""",
        arg=title,
    ).json_value()
    return shown


def click(page: Page, number: int, title: str) -> str:
    """Click a point, once its text is shown: plotly clicks what it hovers over. Returns that text.

    Waits first until plotly takes this for a click of its own: a second one within 300 ms is half of a double click.
    """
    page.wait_for_timeout(400)
    shown = hover(page, number, title)
    at = place(page, number)
    page.mouse.click(at["x"], at["y"])
    page.wait_for_function("(title) => document.querySelector('#comparison tr').textContent.includes(title)", arg=title)
    return shown


def table(page: Page) -> dict[str, list[str]]:
    """Return the comparison: heading of a row -> the other cells."""
    rows = page.evaluate(
        """() => [...document.querySelectorAll('#comparison tr')].map(
            (row) => [...row.children].map((cell) => cell.textContent))"""
    )
    return {row[0]: row[1:] for row in rows}
