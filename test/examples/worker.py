"""A worker that is not in TypeScript: reads {"reference": …, "url": …} from its input and opens the image."""
import hashlib, io, json, sys
import requests
from PIL import Image

job = json.load(sys.stdin)
response = requests.get(job["url"], timeout=60)
if response.status_code != 200:
    sys.exit(f"the store answered {response.status_code}")
if hashlib.sha256(response.content).hexdigest() != job["reference"]["sha256"]:
    sys.exit("the image is not that of the reference")
image = Image.open(io.BytesIO(response.content))
print(json.dumps({"format": image.format, "size": image.size, "name": job["reference"]["display_name"]}))
