"""The one answer that never ends: the stream of events is opened, read until each section came once, and closed.

Prints how many events were read; ends with an error that names the event, or the answer, that is not as described.
"""
import json
import os
import sys
import urllib.error
import urllib.request

import jsonschema_rs

# Seconds for each read; a look comes many times a second.
PATIENCE = 20
PATH = "/api/v1/events"


def ask(path, headers):
    request = urllib.request.Request(sys.argv[1] + path, headers=headers)
    try:
        return urllib.request.urlopen(request, timeout=PATIENCE)
    except urllib.error.HTTPError as answer:
        return answer


def events(answer):
    """The fields of each event, without comments and what only says when to come back."""
    event = {}
    for line in answer:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name:
            event[name] = value
        else:
            if "data" in event or "id" in event:
                yield event
            event = {}


def described(answer, responses):
    kind = answer.headers.get_content_type()
    told = responses.get(str(answer.status))
    if told is None or kind not in told["content"]:
        raise SystemExit(f"{PATH} answers {answer.status} as {kind}; described are {json.dumps(responses)}")
    return told["content"][kind]["schema"]


def main():
    secret = {"X-Internal-Secret": os.environ["TIKKUN_OPENAPI_SECRET"]}
    document = json.load(ask("/api/v1/openapi.json", secret))
    schemas = document["components"]["schemas"]
    validator = lambda schema: jsonschema_rs.Draft202012Validator({**schema, "components": document["components"]})
    responses = document["paths"][PATH]["get"]["responses"]
    for wrong in [{}, {"X-Internal-Secret": "guessed"}, {"Cookie": "tikkun_session=guessed"}]:
        refused = ask(PATH, wrong)
        if refused.status != 401:
            raise SystemExit(f"{PATH} answers {refused.status} to {wrong or 'nobody'}; expected 401")
        validator(described(refused, responses)).validate(json.load(refused))
    answer = ask(PATH, secret)
    described(answer, responses)
    missing, count = set(schemas["Snapshot"]["properties"]), 0
    for event in events(answer):
        if "data" not in event:
            # The id of a look, behind its sections.
            if not missing:
                break
            continue
        section = schemas["Snapshot"]["properties"].get(event["event"])
        if section is None:
            raise SystemExit(f"an event that is not described: {event}")
        try:
            validator(section).validate(json.loads(event["data"]))
        except jsonschema_rs.ValidationError as error:
            raise SystemExit(f"event {event['event']} is not as described: {error}\n{event['data']}") from None
        missing.discard(event["event"])
        count += 1
    answer.close()
    if missing:
        raise SystemExit(f"the stream ended before {', '.join(sorted(missing))}")
    print(json.dumps({"status": answer.status, "events": count}))


if __name__ == "__main__":
    main()
