"""Writes the template for the emulator: the built one without what the emulator lacks. Each part that is left out has a
line with the reason below.

    emulated.py BUILT EMULATED NAME=DEFAULT ...        (run by the Python that has aws-sam-cli)
"""

import pathlib
import sys

from samcli.yamlhelper import yaml_dump, yaml_parse

METRIC_MATH = "alarms over expressions (metric math) are refused"
LEFT_OUT = {
    "Globals.Function.DeploymentPreference": "there is no CodeDeploy: an alias moves to a new version at once",
    "Resources.ExportsPolicy": "it is reached without TLS, which this policy denies (it did: the export failed)",
    "Resources.NewVersionAlarm": METRIC_MATH,
    "Resources.NewWriterVersionAlarm": METRIC_MATH,
    "Resources.ServerErrorAlarm": METRIC_MATH,
    "Resources.ClientErrorAlarm": METRIC_MATH,
    "Resources.TableThrottleAlarm": METRIC_MATH,
    "Resources.SmallTableThrottleAlarm": METRIC_MATH,
}


def leave_out(template, path):
    *parents, last = path.split(".")
    for name in parents:
        template = template[name]
    del template[last]  # A KeyError means that this part no longer exists: remove its line


def without_alarms(template, gone):
    """Removes the alarms that are left out from the dashboard."""
    body = template["Resources"]["Dashboard"]["Properties"]["DashboardBody"]
    lines = body["Fn::Sub"].split("\n")
    body["Fn::Sub"] = "\n".join(line for line in lines if not any(f'"${{{alarm}.Arn}}"' in line for alarm in gone))


built, emulated, *defaults = sys.argv[1:]
template = yaml_parse(pathlib.Path(built).read_text())
for path in LEFT_OUT:
    leave_out(template, path)
without_alarms(template, [path.split(".")[1] for path in LEFT_OUT if path.endswith("Alarm")])
for default in defaults:
    name, value = default.split("=", 1)
    template["Parameters"][name]["Default"] = value
pathlib.Path(emulated).write_text(yaml_dump(template))
for path, reason in LEFT_OUT.items():
    print(f"left out: {path}: {reason}")
