"""Sends a picture with the HTTP client that the first argument names, and prints one answer a line."""
import importlib
import json
import sys

client_name, url, picture, large, payload = sys.argv[1:]
client = importlib.import_module(client_name)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def show(answer):
    print(json.dumps({"status": answer.status_code, "body": answer.json()}))


session = f"{url}/sessions/{client_name}/init-image"
# The types are those that the clients send by themselves: none, and by the file's name.
if client_name == "requests":
    show(client.put(session, data=read(picture)))
else:
    show(client.put(session, content=read(picture)))
with open(picture, "rb") as file:
    show(client.post(f"{url}/v1/init-image", files={"image": file}, data={"prompt": "rain"}))
show(client.post(f"{url}/v1/init-image", json=json.loads(read(payload))))
with open(large, "rb") as file:
    show(client.post(f"{url}/v1/init-image", files={"image": file}))
show(client.post(f"{url}/v1/init-image", data={"image": "[object Object]"}, files={"note": (None, "text")}))
