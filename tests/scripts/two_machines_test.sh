#!/usr/bin/env bash
# Two network namespaces as two machines: ranks that reach each other by an address of a network, not by the loopback
# device. Usage: two_machines_test.sh BINARY. Exits 77 where namespaces may not be made.
set -euo pipefail
binary=$(realpath "$1")
directory=$(mktemp -d)
first=continuo-a-$$ second=continuo-b-$$

clean() {
  ip netns delete "$first" 2> /dev/null || true
  ip netns delete "$second" 2> /dev/null || true
  rm -rf "$directory"
}
trap clean EXIT

if ! { ip netns add "$first" && ip netns add "$second"; } 2> /dev/null; then
  echo "network namespaces cannot be made here: skipped"
  exit 77
fi
ip link add "va$$" netns "$first" type veth peer name "vb$$" netns "$second"
ip -n "$first" address add 10.77.0.1/24 dev "va$$"
ip -n "$second" address add 10.77.0.2/24 dev "vb$$"
for end in "$first va$$" "$second vb$$"; do
  read -r namespace device <<< "$end"
  ip -n "$namespace" link set "$device" up
  ip -n "$namespace" link set lo up
done

cd "$directory"
for i in $(seq 40); do
  echo "{\"prompt\": \"What is $i plus one?\", \"completion\": \"It is $((i + 1)), of course.\"}"
done > rows.jsonl
cat > x.yaml <<'YAML'
run_dir: run
threads: 1
device: cpu
tokenizer: {train: {inputs: [{path: rows.jsonl, fields: [prompt, completion]}], vocab_size: 290}}
model: {layers: 1, hidden: 32, heads: 2, context: 128}
data: {train: [{path: rows.jsonl}], cache: cache}
batch: {rows: 8, micro_tokens: 64}
train: {lr: 5e-3, steps: 6}
YAML

rank() { # NAMESPACE RANK
  ip netns exec "$1" env RANK="$2" WORLD_SIZE=2 LOCAL_RANK=0 LOCAL_WORLD_SIZE=1 MASTER_ADDR=10.77.0.1 MASTER_PORT=29555 \
    "$binary" train x.yaml rank_timeout=60
}
rank "$second" 1 > second.log 2>&1 &
other=$!
rank "$first" 0 > first.log 2>&1 || { cat first.log second.log; exit 1; }
wait "$other" || { cat first.log second.log; exit 1; }
grep -q step-00000006 first.log || { cat first.log; exit 1; }
grep -q '"ranks": 2' run/checkpoints/step-00000006/state.json
test ! -s second.log || { echo "the second rank spoke:"; cat second.log; exit 1; }
echo "two ranks met at 10.77.0.1"
