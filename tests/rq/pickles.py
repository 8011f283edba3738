"""Pickles by Python itself, for the tests of our reader and writer.

    python pickles.py make    lines for pickles.tsv: protocol, name, expected (JSON with tags), hex.
                              An expectation that begins with "!" is a name that the refusal must hold.
    python pickles.py check   reads lines of hex; answers each with the value's tagged JSON, then its
                              pickles of protocols 2 to 5, all separated by tabs.

pickles.tsv was made by running `make` with CPython 3.7, 3.8, 3.11 and 3.13, each distinct line kept once; the time zones
of libraries with pytz 2026.6, and python-dateutil 2.9.0 and 4.0.0.
"""
import base64
import collections
import datetime as dt
import decimal
import enum
import fractions
import json
import os
import pickle
import sys
import uuid


def b64(value):
    return base64.b64encode(bytes(value)).decode()


def offset(text):
    sign, rest = (-1 if text[0] == "-" else 1), text[1:]
    parts = rest.split(":") + ["0"]
    return sign * dt.timedelta(hours=int(parts[0]), minutes=int(parts[1]),
                               microseconds=round(float(parts[2]) * 1000000))


def timezone(text, name=None):
    return dt.timezone(offset(text)) if name is None else dt.timezone(offset(text), name)


def clock(text, beside):
    for sign in "+-":
        if sign in text:
            local, zone = text.split(sign)
            zone = timezone(sign + zone, beside.get("name"))
            break
    else:
        local, zone = text, None
    form = "%H:%M:%S.%f" if "." in local else "%H:%M:%S"
    time = dt.datetime.strptime(local, form).time()
    return time.replace(tzinfo=zone, fold=int(beside.get("fold", False)))


def beside(content):
    return (content, {}) if isinstance(content, str) else content


def moment(content):
    text, more = beside(content)
    day, time = text.split("T")
    return dt.datetime.combine(date(day), clock(time, more))


def date(text):
    return dt.date(*map(int, text.split("-")))


READ = {
    "$int": int, "$float": float, "$bytes": base64.b64decode,
    "$bytearray": lambda text: bytearray(base64.b64decode(text)),
    "$tuple": lambda items: tuple(map(read, items)),
    "$set": lambda items: set(map(read, items)),
    "$frozenset": lambda items: frozenset(map(read, items)),
    "$dict": lambda pairs: {read(key): read(value) for key, value in pairs},
    "$datetime": moment, "$date": date, "$time": lambda content: clock(*beside(content)),
    "$timedelta": lambda parts: dt.timedelta(*parts),
    "$timezone": lambda content: timezone(beside(content)[0], beside(content)[1].get("name")),
    "$uuid": uuid.UUID, "$decimal": decimal.Decimal,
}


def read(value):
    """The Python value of tagged JSON."""
    if isinstance(value, list):
        return [read(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1 and next(iter(value)) in READ:
        tag, content = next(iter(value.items()))
        return READ[tag](content)
    return {key: read(item) for key, item in value.items()}


def zone_text(delta):
    sign, delta = ("-", -delta) if delta < dt.timedelta(0) else ("+", delta)
    seconds, text = delta.seconds, ""
    if seconds % 60 or delta.microseconds:
        text += ":%02d" % (seconds % 60)
    if delta.microseconds:
        text += ".%06d" % delta.microseconds
    return "%s%02d:%02d%s" % (sign, seconds // 3600, seconds // 60 % 60, text)


def timed(value, text):
    more = {"fold": True} if value.fold else {}
    zone = value.tzinfo
    if zone is not None:
        text += zone_text(zone.utcoffset(None))
        more.update(named(zone))
    return [text, more] if more else text


def named(zone):
    init = zone.__getinitargs__()
    return {"name": init[1]} if len(init) > 1 else {}


def tagged(value):
    """The tagged JSON of a Python value; the type must be exactly the one."""
    kind = type(value)
    if kind is int and not -2 ** 63 <= value < 2 ** 64:
        return {"$int": str(value)}
    if kind is float and (value != value or value in (float("inf"), float("-inf"))):
        return {"$float": str(value)}
    if value is None or kind in (bool, int, float, str):
        return value
    if kind is list:
        return [tagged(item) for item in value]
    if kind in (tuple, set, frozenset):
        return {"$" + kind.__name__: [tagged(item) for item in value]}
    if kind in (bytes, bytearray):
        return {"$" + kind.__name__: b64(value)}
    if kind is dict:
        plain = all(type(key) is str for key in value)
        if plain and not (len(value) == 1 and next(iter(value)).startswith("$")):
            return {key: tagged(item) for key, item in value.items()}
        return {"$dict": [[tagged(key), tagged(item)] for key, item in value.items()]}
    if kind is dt.datetime:
        return {"$datetime": timed(value, value.replace(tzinfo=None).isoformat())}
    if kind is dt.time:
        return {"$time": timed(value, value.replace(tzinfo=None).isoformat())}
    if kind is dt.date:
        return {"$date": value.isoformat()}
    if kind is dt.timedelta:
        return {"$timedelta": [value.days, value.seconds, value.microseconds]}
    if kind is dt.timezone:
        text, more = zone_text(value.utcoffset(None)), named(value)
        return {"$timezone": [text, more] if more else text}
    if kind is uuid.UUID:
        return {"$uuid": str(value)}
    if kind is decimal.Decimal:
        return {"$decimal": str(value)}
    raise TypeError(repr(kind))


class Person:
    def __init__(self):
        self.name = "x"


class Colour(enum.Enum):
    RED = 1


def more():
    """Values beyond the table, each with what must come of it."""
    shared = ["s"]
    ring = []
    ring.append(ring)
    deep = "leaf"
    for _ in range(50):
        deep = [deep]
    fold = dt.datetime(2026, 10, 25, 1, 30, fold=1)
    yield "shared", [shared, shared, "s"], [["s"], ["s"], "s"]
    yield "long_list", list(range(1500)), list(range(1500))
    yield "long_text", ["x" * 70000, "y" * 300], ["x" * 70000, "y" * 300]
    yield "huge_int", 1 << 2100, {"$int": str(1 << 2100)}
    yield "deep", deep, tagged(deep)
    yield "ordered", collections.OrderedDict([("b", 1), ("a", 2)]), {"b": 1, "a": 2}
    yield "default", collections.defaultdict(list, {"k": [1]}), {"k": [1]}
    if pickle.DEFAULT_PROTOCOL >= 3:
        yield "fold", fold, {"$datetime": ["2026-10-25T01:30:00", {"fold": True}]}
    yield "call", ("pkg.mod.func", None, (27, "x"), {"k": [1]}), tagged(("pkg.mod.func", None, (27, "x"), {"k": [1]}))
    yield "object", [Person()], "!__main__.Person"
    yield "function", more, "!__main__.more"
    yield "enum", Colour.RED, "!__main__.Colour"
    yield "fraction", fractions.Fraction(1, 2), "!fractions.Fraction"
    yield "complex", 1j, "!complex"
    yield "range", range(3), "!range"
    yield "system", System(), "!system"
    yield "ring", ring, "!contains itself"
    yield "surrogate", "\ud800", "!no Unicode"


def zones():
    """Datetimes in time zones of libraries, where these are installed."""
    try:
        import zoneinfo

        import pytz
        from dateutil import tz
    except ImportError:
        return
    noon = dt.datetime(2026, 6, 1, 12)

    def at(offset, *zone):
        return {"$datetime": ["2026-06-01T12:00:00" + offset, {"zone": list(zone)}]}

    place, file = "Asia/Jerusalem", "Etc/GMT-2"
    yield "zoneinfo", noon.replace(tzinfo=zoneinfo.ZoneInfo(place)), at("+03:00", "zoneinfo", place, True)
    alone = zoneinfo.ZoneInfo.no_cache(place)
    yield "zoneinfo_alone", noon.replace(tzinfo=alone), at("+03:00", "zoneinfo", place, False)
    yield "pytz", pytz.timezone(place).localize(noon), at("+03:00", "pytz", place, 10800, 3600, "IDT")
    yield "pytz_static", noon.replace(tzinfo=pytz.timezone(file)), at("+02:00", "pytz", file)
    yield "pytz_utc", noon.replace(tzinfo=pytz.utc), at("+00:00", "pytz.utc")
    yield "pytz_fixed", noon.replace(tzinfo=pytz.FixedOffset(-90)), at("-01:30", "pytz.fixed", -90)
    yield "dateutil_utc", noon.replace(tzinfo=tz.tzutc()), at("+00:00", "dateutil.utc")
    named, bare = tz.tzoffset("X", 3600), tz.tzoffset(None, -3600)
    yield "dateutil_offset", noon.replace(tzinfo=named), at("+01:00", "dateutil.offset", "X", 3600000000)
    yield "dateutil_bare", noon.replace(tzinfo=bare), at("-01:00", "dateutil.offset", None, -3600000000)
    found = pickle.dumps(tz.gettz(file), 4)
    kept = file if b"_unpickle" in found else "/usr/share/zoneinfo/" + file
    yield "dateutil_file", noon.replace(tzinfo=tz.gettz(file)), at("+02:00", "dateutil.file", kept)
    yield "time_utc", dt.time(3, 4, tzinfo=pytz.utc), {"$time": ["03:04:00+00:00", {"zone": ["pytz.utc"]}]}
    yield "time_zone", dt.time(3, 4, tzinfo=zoneinfo.ZoneInfo(place)), "!has no offset without a date"
    yield "zone", zoneinfo.ZoneInfo(place), "!by itself"
    yield "local", noon.replace(tzinfo=tz.tzlocal()), "!dateutil.tz.tz.tzlocal"
    yield "rule", noon.replace(tzinfo=tz.tzstr("EST5EDT")), "!dateutil."
    method = noon.replace(tzinfo=zoneinfo.ZoneInfo(place)), getattr
    yield "getattr", method, "!builtins.getattr"


class System:
    def __reduce__(self):
        return os.system, ("false",)


def make():
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "values.json"), encoding="utf-8") as file:
        table = [(name, read(value), value) for name, value in json.load(file).items()]
    for name, value, expected in table + list(more()) + list(zones()):
        for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
            if name == "fold" and protocol < 4:
                continue
            shown = expected if str(expected).startswith("!") else json.dumps(expected)
            payload = pickle.dumps(value, protocol)
            if len(payload) < 1000:
                print("%d\t%s\t%s\t%s" % (protocol, name, shown, payload.hex()))


def check():
    for line in sys.stdin:
        value = pickle.loads(bytes.fromhex(line))
        pickles = [pickle.dumps(value, protocol).hex() for protocol in range(2, 6)]
        print("\t".join([json.dumps(tagged(value))] + pickles))


if __name__ == "__main__":
    {"make": make, "check": check}[sys.argv[1]]()
