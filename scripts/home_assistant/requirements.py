"""Prints what the integrations need that Home Assistant loads for MQTT."""

import json
import pathlib

import homeassistant.components

ROOT = pathlib.Path(homeassistant.components.__path__[0])
INTEGRATIONS = (
    "mqtt frontend backup network hardware recorder isal image_upload stream ffmpeg tts conversation".split()
)


def main():
    seen, requirements, rest = set(), set(), list(INTEGRATIONS)
    while rest:
        name = rest.pop()
        if name in seen:
            continue
        seen.add(name)
        manifest = json.loads((ROOT / name / "manifest.json").read_text())
        requirements.update(manifest.get("requirements", []))
        rest += manifest.get("dependencies", [])
    print("\n".join(sorted(requirements)))


main()
