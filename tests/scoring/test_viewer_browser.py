"""The page in a real browser: drag, keys, overlay, views, a phone; skipped where Chromium, its driver or selenium is missing.

To run it: install chromium and chromedriver (Debian: chromium, chromium-driver), and selenium from PyPI.
"""

import base64
import io
import shutil
import time

import numpy as np
import pytest
from PIL import Image

from mmifn.data.placement import Sphere
from mmifn.scoring.prediction import Prediction, View
from mmifn.scoring.viewer import make_panel, write_page
from mmifn.sphere import dodecahedron

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
selenium_ui = pytest.importorskip("selenium.webdriver.support.ui", reason="selenium is not installed")
CHROMIUM, DRIVER = (next((found for name in names if (found := shutil.which(name))), None)
                    for names in (("chromium", "chromium-browser", "google-chrome"), ("chromedriver",)))  # fmt: skip
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium or its driver is not installed")
COLOURS = {"ahead": (200, 60, 60), "right": (60, 180, 60), "behind": (60, 60, 200), "left": (200, 200, 60), "up": (230, 230, 230),
           "down": (30, 30, 30)}  # fmt: skip
ODD = "größe </script><!-- 图.jpg"


def painted():
    """A panorama whose six sides have a colour each: quarters around, caps above and below 50 degrees."""
    erp = np.zeros((512, 1024, 3), np.uint8)
    lon, lat = (np.arange(1024) + 0.5) / 1024 * 360 - 180, 90 - (np.arange(512) + 0.5) / 512 * 180
    side = np.round((lon % 360) / 90).astype(int) % 4
    erp[:] = np.array([COLOURS[name] for name in ("ahead", "right", "behind", "left")], np.uint8)[side]
    erp[lat > 50], erp[lat < -50] = COLOURS["up"], COLOURS["down"]
    return erp


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two painted panoramas, the first worst to the left, with an interval, a long name and a warning."""
    path, erp = tmp_path_factory.mktemp("page") / "größe page.html", painted()
    panels = []
    for label, bad in ((ODD, 60.0), ("folder/" + "long_name_" * 12 + ".jpg", 20.0)):
        scores = [bad if lon == -72 and 0 < lat < 20 else 80.0 for lon, lat in dodecahedron().tolist()]
        views = tuple(View(lon, lat, s) for (lon, lat), s in zip(dodecahedron().tolist(), scores, strict=True))
        said = Prediction(float(np.mean(scores)), "good", (60.0, 90.0) if bad == 60 else None, 0.9, views, 40.0,
                          "Strong blur, most visible to the left. " * 3, ("its edges do not meet",) if bad == 60 else (), "m")
        panels.append(make_panel(Sphere(erp), said, label, 1024))
    write_page(panels, path)
    return path


@pytest.fixture(scope="module")
def chromium():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("--headless=new", "--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
                 "--force-color-profile=srgb", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


class Page:
    """The page as a person has it: what it shows, and what can be done to it."""

    def __init__(self, driver, path, width=1200, height=900):
        self.driver = driver
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                               {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})
        driver.get("about:blank")
        driver.get_log("browser"), driver.get_log("performance")
        driver.get(path.as_uri())
        self.wait(lambda: self.shown("lon") is not None and np.ptp(self.pixels()) > 0)

    def run(self, script, *args):
        return self.driver.execute_script(script, *args)

    def wait(self, condition):
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, "nothing happened for 20 seconds"
            time.sleep(0.05)

    def by_id(self, name):
        return self.driver.find_element("id", name)

    @property
    def canvas(self):
        return self.driver.find_element("css selector", "#stage canvas")

    def shown(self, what):
        value = self.canvas.get_attribute(f"data-{what}")
        return None if value is None else float(value)

    def until(self, **wanted):
        self.wait(lambda: all(self.shown(key) == pytest.approx(value, abs=0.05) for key, value in wanted.items()))
        self.run("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def look(self, lon, lat):
        self.run("look(arguments[0], arguments[1])", lon, lat)
        self.until(lon=lon, lat=lat)

    def pixels(self):
        """Return the canvas as a person sees it, (H, W, 3)."""
        self.run("document.querySelector('#stage').scrollIntoView({ block: 'center' })")
        with Image.open(io.BytesIO(base64.b64decode(self.canvas.screenshot_as_base64))) as image:
            return np.asarray(image.convert("RGB")).astype(int)

    def colour(self, x=0.5, y=0.5):
        """Return the colour in a place of the canvas."""
        pixels = self.pixels()
        row, column = int(y * len(pixels)), int(x * pixels.shape[1])
        return np.median(pixels[row - 3 : row + 4, column - 3 : column + 4].reshape(-1, 3), axis=0)

    def press(self, key):
        self.canvas.send_keys(key)

    def drag(self, right, down, kind="mouse"):
        """Drag by some pixels from the middle of the canvas, in two steps."""
        actions = webdriver.ActionChains(self.driver, duration=20)
        if kind == "touch":
            pointer = webdriver.common.actions.pointer_input.PointerInput("touch", "finger")
            actions = webdriver.ActionChains(self.driver, duration=20, devices=[pointer])
            actions.w3c_actions.pointer_action.move_to(self.canvas).pointer_down()
            actions.w3c_actions.pointer_action.move_to(self.canvas, right, down).pointer_up()
            actions.w3c_actions.perform()
            return
        half = right // 2, down // 2
        actions.click_and_hold(self.canvas).move_by_offset(*half).move_by_offset(right - half[0], down - half[1]).release()
        actions.perform()

    def errors(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]


@pytest.fixture
def opened(chromium, page):
    opened = Page(chromium, page)
    yield opened
    assert opened.errors() == []


@pytest.fixture(params=[(375, 667), (320, 568)])
def phone(request, chromium, page):
    opened = Page(chromium, page, *request.param)
    yield opened
    assert opened.errors() == []


def near(colour, name, tolerance=8):
    return np.abs(np.asarray(colour) - COLOURS[name]).max() <= tolerance


@pytest.mark.parametrize(("lon", "lat", "name"), [(0, 0, "ahead"), (90, 0, "right"), (-180, 0, "behind"), (-90, 0, "left"),
                                                  (0, 80, "up"), (30, -80, "down")])  # fmt: skip
def test_every_direction_shows_its_own_colours(opened, lon, lat, name):
    opened.look(lon, lat)
    assert near(opened.colour(), name)


def test_east_is_to_the_right_and_up_is_up(opened):
    opened.look(45, 0)  # the border between ahead and right
    assert near(opened.colour(0.4), "ahead") and near(opened.colour(0.6), "right")
    opened.look(0, 50)  # and that between ahead and up
    assert near(opened.colour(0.5, 0.35), "up") and near(opened.colour(0.5, 0.65), "ahead")


def test_no_line_at_the_seam(opened):
    opened.look(-180, 0)
    row = opened.pixels()[200]
    assert np.abs(row[len(row) // 4 : -len(row) // 4] - COLOURS["behind"]).max() <= 8


def test_a_drag_turns_the_view_under_the_finger(opened):
    height = opened.canvas.size["height"]
    opened.drag(-200, 100)
    # 80 degrees over the canvas's height; to the left brings what is to the right, down what is above.
    opened.until(lon=200 * 80 / height, lat=100 * 80 / height)
    opened.drag(0, 2000 if height > 4000 else height // 2 - 5)
    assert opened.shown("lat") > 100 * 80 / height
    before = opened.shown("lon")
    webdriver.ActionChains(opened.driver).move_to_element(opened.canvas).move_by_offset(50, 10).perform()  # not held
    time.sleep(0.2)
    assert opened.shown("lon") == before


def test_keys_look_around_and_zoom(opened):
    keys = webdriver.Keys
    for key, wanted in ((keys.ARROW_RIGHT, {"lon": 10, "lat": 0}), (keys.ARROW_UP, {"lon": 10, "lat": 10}),
                        (keys.ARROW_LEFT, {"lon": 0, "lat": 10}), (keys.ARROW_DOWN, {"lon": 0, "lat": 0}),
                        ("+", {"fov": 64}), ("-", {"fov": 80}), ("-", {"fov": 100}), ("-", {"fov": 110}),
                        ("-", {"fov": 110})):  # fmt: skip
        opened.press(key)
        opened.until(**wanted)
    for _ in range(12):
        opened.press(keys.ARROW_UP)
    opened.until(lat=89)  # not over the top
    for _ in range(19):
        opened.press(keys.ARROW_LEFT)
    opened.until(lon=170)  # around


def test_buttons_zoom_and_zoom_shows_less(opened):
    opened.look(45, 0)
    wide = opened.pixels()[300]
    opened.by_id("nearer").click()
    opened.until(fov=64)
    opened.by_id("nearer").click()
    opened.until(fov=51.2)
    assert (opened.pixels()[300] != wide).any()
    opened.by_id("farther").click()
    opened.until(fov=64)


def test_the_map_is_switched_by_button_and_key(opened):
    opened.look(-72, 10.8)
    plain, toggle, legend = opened.colour(), opened.by_id("toggle"), opened.by_id("legend")
    assert near(plain, "left") and toggle.get_attribute("aria-pressed") == "false" and not legend.is_displayed()
    toggle.click()
    assert toggle.get_attribute("aria-pressed") == "true" and legend.is_displayed()
    opened.wait(lambda: not near(opened.colour(), "left"))
    # The worst view is the red end at most, mixed .55 to .45 with what is below; the other side is bluer than it was.
    seen = opened.colour()
    assert seen[0] > seen[1] > 0 and np.abs(seen - (0.55 * np.array([215, 25, 28]) + 0.45 * plain)).max() < 45
    opened.look(108, -10.8)
    assert opened.colour()[2] > COLOURS["right"][2] + 30
    opened.press("m")
    opened.wait(lambda: near(opened.colour(), "right"))
    assert toggle.get_attribute("aria-pressed") == "false"


def test_a_view_of_the_strip_turns_the_panorama_there(opened):
    buttons = opened.driver.find_elements("css selector", "#strip button")
    assert len(buttons) == 20 and buttons[0].text.split() == ["60", "to", "the", "left"]
    buttons[0].click()
    opened.until(lon=-72, lat=10.81)
    sizes = [button.find_element("css selector", "img").size for button in buttons]
    assert all(size["width"] == pytest.approx(size["height"], abs=1) for size in sizes)
    tops = {button.find_element("css selector", "img").location["y"] for button in buttons[:5]}
    assert len(tops) == 1


def test_all_is_reached_and_worked_by_keyboard(opened):
    keys, reached = webdriver.Keys, []
    for _ in range(7):
        webdriver.ActionChains(opened.driver).send_keys(keys.TAB).perform()
        reached.append(opened.run("const a = document.activeElement; return a.id || a.tagName"))
    assert reached[:5] == ["which", "CANVAS", "toggle", "nearer", "farther"] and reached[5:] == ["BUTTON"] * 2
    opened.run("document.getElementById('toggle').focus()")
    webdriver.ActionChains(opened.driver).send_keys(keys.SPACE).perform()
    assert opened.by_id("toggle").get_attribute("aria-pressed") == "true"


def test_another_panorama_is_chosen(opened):
    assert opened.by_id("name").text == ODD and opened.by_id("warnings").text == "its edges do not meet"
    assert "60 to 90 with 90 % confidence" in opened.by_id("interval").text
    select = selenium_ui.Select(opened.by_id("which"))
    assert len(select.options) == 2
    select.select_by_index(1)
    assert opened.by_id("name").text.startswith("folder/long_name_") and opened.by_id("warnings").text == ""
    assert opened.by_id("interval").text == "not calibrated"
    assert opened.driver.find_element("css selector", "#strip button").text.startswith("20")


def test_words_of_the_scale_stand_at_their_fifth(opened):
    """The score of the first panorama, 79, marks the end of "good", the fourth fifth."""
    mark = opened.driver.find_element("css selector", "#scale b").rect
    words = {each.text: each.rect for each in opened.driver.find_elements("css selector", "#words span")}
    good = words["good"]
    assert good["x"] < mark["x"] < good["x"] + good["width"] and list(words) == ["bad", "poor", "fair", "good", "excellent"]


def test_a_phone_shows_it_all_without_scrolling_sideways(phone):
    width = phone.run("return window.innerWidth")
    assert width in (375, 320)
    for _ in range(2):
        assert phone.run("return document.documentElement.scrollWidth") <= width
        rights = phone.run("return [...document.querySelectorAll('main *')].map((e) => e.getBoundingClientRect().right)")
        assert max(rights) <= width
        phone.by_id("toggle").click()
    small = phone.run("return [...document.querySelectorAll('button, select')].filter((e) => e.offsetParent)"
                      ".map((e) => Math.min(e.offsetWidth, e.offsetHeight))")
    assert min(small) >= 36  # large enough for a finger
    selenium_ui.Select(phone.by_id("which")).select_by_index(1)  # the long name
    assert phone.run("return document.documentElement.scrollWidth") <= width


def test_a_finger_turns_the_view(phone):
    phone.pixels()  # scrolled to it
    phone.drag(-80, 0, "touch")
    phone.wait(lambda: phone.shown("lon") == pytest.approx(80 * 80 / phone.canvas.size["height"], abs=1.5))


def test_it_works_from_a_file_and_asks_no_network(chromium, page):
    import json

    opened = Page(chromium, page)
    requests = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    urls = {event["params"]["request"]["url"] for event in requests if event["method"] == "Network.requestWillBeSent"}
    assert page.as_uri() in urls and {url.partition(":")[0] for url in urls} <= {"file", "data"}
    assert opened.run("return location.protocol") == "file:" and opened.errors() == []
