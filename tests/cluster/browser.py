"""Chromium without a window, on a gateway's page."""

import json
import os
import zipfile

from processes import wait_for

AXE = os.environ.get("MILLRACE_AXE", os.path.expanduser("~/.cache/millrace/axe-core-4.10.1/selenium-4.10.1.jar"))


class Browser:
    """One page in one window. Selenium waits for what a command needs; for what the page shows, wait_for() and this."""

    def __init__(self, downloads, width=1280, height=900, dark=False):
        from selenium import webdriver  # Debian's python3-selenium, which only scripts/test --slow installs
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--lang=en", "--hide-scrollbars"]:
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})
        self.resize(width, height)
        self.scheme(dark)

    def resize(self, width, height):
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False})

    def scheme(self, dark):
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}, {"name": "prefers-reduced-motion", "value": "reduce"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self, gateway, path="/"):
        self.driver.get(f"http://127.0.0.1:{gateway.port}{path}")
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def find(self, selector):
        return self.driver.find_element("css selector", selector)

    def click(self, selector):
        self.find(selector).click()

    def type(self, selector, text):
        self.find(selector).send_keys(text)

    def press(self, *keys):
        """Keys for whatever has the focus."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector)

    def wait_for_text(self, selector, wanted, seconds=20):
        wait_for(f"'{wanted}' in {selector}, not '{self.text(selector)}'", lambda: wanted in self.text(selector), seconds)

    def rows(self, table="#words"):
        """The texts of the cells, row by row."""
        return self.run("return [...document.querySelectorAll(`${arguments[0]} tbody tr`)].map((row) => [...row.cells].map((cell) => cell.textContent))", table)

    def counts(self):
        return {row[1]: int(row[2].replace(",", "")) for row in self.rows()}

    def wait_for_count(self, word, number, seconds=30):
        wait_for(f"{number} times {word}", lambda: self.counts().get(word) == number, seconds)

    def faults(self):
        """What the console has against the page: exceptions, breaches of its policy. Not answers that are an error."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["source"] != "network" and entry["level"] in ("SEVERE", "WARNING")]

    def accessibility(self):
        """What axe-core finds wrong with what is shown."""
        with zipfile.ZipFile(AXE) as jar:
            self.run(jar.read("axe.min.js").decode())
        found = self.driver.execute_async_script("axe.run({ resultTypes: ['violations'] }).then(arguments[0])")
        return [json.dumps({"rule": each["id"], "nodes": [(node["html"][:200], node["failureSummary"]) for node in each["nodes"][:5]]}) for each in found["violations"]]

    def end(self):
        self.driver.quit()
