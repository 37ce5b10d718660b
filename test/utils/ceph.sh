#!/usr/bin/env bash
# Runs a Ceph object store on loopback, in memory: one monitor, one OSD and a RADOS Gateway. Needs no root and no
# systemd, but Debian's radosgw, ceph-mon and ceph-osd.
#
#   ceph.sh [DIRECTORY]
#
# Prints its environment and then "ready". Ends, with its daemons and its directory, when its standard input does, or at
# Ctrl-C.
set -euo pipefail
D=$(mktemp -d "${1:-${TMPDIR:-/tmp}}/init-image-ceph-XXXXXX")
PORT=${S3_PORT:-7480}
MON_PORT=${MON_PORT:-33300}
BUCKET=${S3_BUCKET:-images}
KEY=testaccesskey
SECRET=testsecretkey

daemons=()
finish() {
  trap - EXIT INT TERM
  if ((${#daemons[@]})); then
    kill -9 "${daemons[@]}" 2> /dev/null || true
    wait "${daemons[@]}" 2> /dev/null || true
  fi
  rm -rf "$D"
}
trap finish EXIT
trap 'exit 130' INT TERM
trap 'tail -n 5 "$D"/*.out >&2' ERR

for port in "$PORT" "$MON_PORT"; do
  if (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; then
    echo "port $port is taken" >&2
    exit 1
  fi
done

mkdir "$D/mon" "$D/osd" "$D/run"
FSID=$(cat /proc/sys/kernel/random/uuid)
OSD=$(cat /proc/sys/kernel/random/uuid)
# Without the settings of "gc" a deleted object's bytes stay for two hours.
cat > "$D/ceph.conf" << CONF
[global]
fsid = $FSID
mon host = [v2:127.0.0.1:$MON_PORT]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
run dir = $D/run
admin socket = $D/run/\$name.\$pid.asok
log file = $D/\$name.log
osd pool default size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 1
paxos propose interval = 0.02
paxos min wait = 0.01
[mon]
mon data = $D/mon
mon cluster log file = $D/cluster.log
[osd]
osd data = $D/osd
osd objectstore = memstore
memstore device bytes = 4294967296
[client.rgw]
rgw gc obj min wait = 1
rgw gc processor period = 1
rgw gc max objs = 4
rgw obj stripe size = 4194304
rgw frontends = beast endpoint=127.0.0.1:$PORT
rgw thread pool size = 32
rgw override bucket index max shards = 1
rgw dynamic resharding = false
CONF
export CEPH_CONF="$D/ceph.conf"

start() {
  local name=$1
  shift
  "$@" > "$D/$name.out" 2>&1 < /dev/null &
  daemons+=($!)
}

monmaptool --create --clobber --fsid "$FSID" --addv a "[v2:127.0.0.1:$MON_PORT]" "$D/monmap" > /dev/null
ceph-mon -i a --mkfs --monmap "$D/monmap"
start mon ceph-mon -i a -f
timeout 60 ceph osd new "$OSD" > /dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$OSD" > "$D/mkfs.out" 2>&1
start osd ceph-osd -i 0 -f
for _ in $(seq 200); do
  if timeout 10 ceph osd stat | grep -q " 1 up"; then break; fi
  sleep .05
done
timeout 120 radosgw-admin --name client.rgw user create --uid=test --display-name=test \
  --access-key=$KEY --secret-key=$SECRET > "$D/user.out" 2>&1
start rgw radosgw --name client.rgw -f
for _ in $(seq 600); do
  if curl -so /dev/null "http://127.0.0.1:$PORT/"; then break; fi
  kill -0 "${daemons[-1]}"
  sleep .05
done
curl -sf -X PUT -H "x-amz-content-sha256: $(printf '' | sha256sum | cut -d' ' -f1)" \
  --aws-sigv4 aws:amz:us-east-1:s3 --user "$KEY:$SECRET" "http://127.0.0.1:$PORT/$BUCKET" > /dev/null

cat << ENV
AWS_ENDPOINT_URL_S3=http://127.0.0.1:$PORT
AWS_ACCESS_KEY_ID=$KEY
AWS_SECRET_ACCESS_KEY=$SECRET
AWS_REGION=us-east-1
INIT_IMAGE_BUCKET=$BUCKET
ready
ENV
# Waits in the background, so that a signal's trap runs at once.
cat > /dev/null <&0 &
wait $!
