# Sourced by the ten lines of README.md: `. docs/guides/quickstart.sh MODEL PREFIX`.
# Waits for local mode, defines `as`, `call`, `field` and `report`, and prepares a governed channel.
# shellcheck shell=sh
REGISTRY=http://127.0.0.1:8080
export HF_ENDPOINT=$REGISTRY HF_HUB_DISABLE_XET=1

# as ROLE: print the token of a principal that local mode made.
as() { .venv/bin/python -c "import json; print(json.load(open('data/credentials.json'))['tokens']['$1'])"; }

# call ROLE PATH [JSON]: GET, or POST a document, as that principal.
call() {
    if [ $# -gt 2 ]; then
        curl -sS -H "Authorization: Bearer $(as "$1")" -H 'Content-Type: application/json' \
            -d "$3" "$REGISTRY/v1/$2"
    else
        curl -sS -H "Authorization: Bearer $(as "$1")" "$REGISTRY/v1/$2"
    fi
    echo
}

# field NAME: print one member of the JSON object on standard input.
field() { .venv/bin/python -c "import json, sys; print(json.load(sys.stdin)['$1'])"; }

# report VERSION: print an evaluation with invented scores: 94 % for both personas.
report() {
    digest=$(call evaluator "prefixes/acme/hello/versions/$1" | field digest)
    cell='"metric": "tone", "locale": "en", "value": 0.94, "samples": 200'
    echo "{\"suite\": \"hello\", \"suite_version\": \"1\", \"digest\": \"$digest\",
      \"harness\": {\"name\": \"by hand\", \"version\": \"1\"},
      \"started_at\": \"2026-01-01T10:00:00Z\", \"finished_at\": \"2026-01-01T11:00:00Z\",
      \"results\": [{$cell, \"persona\": \"novice\"}, {$cell, \"persona\": \"upset\"}]}"
}

# prepare METHOD ROLE PATH JSON: send a document and print the status only.
prepare() {
    curl -sS -o /dev/null -w '%{http_code} %{method} %{url}\n' -X "$1" -d "$4" \
        -H "Authorization: Bearer $(as "$2")" -H 'Content-Type: application/json' "$REGISTRY/v1/$3"
}

until curl -sf "$REGISTRY/readyz" >/dev/null; do sleep 1; done

base=$(.venv/bin/prefix-registry base-digest "$1")
# A push by a Hugging Face client finds its base model by this front matter: the tiny model has no
# name on any hub.
printf -- '---\nbase_digest: %s\n---\n' "$base" >"$2/README.md"
prepare POST publisher base-models "{\"name\": \"acme/tiny-llama\", \"digest\": \"$base\",
  \"parameters\": 100000, \"config\": $(cat "$1/config.json")}"
prepare POST publisher prefixes '{"namespace": "acme", "name": "hello", "owner": "admin",
  "intended_uses": ["tone"]}'
prepare POST admin suites "{\"name\": \"hello\", \"version\": \"1\",
  \"dataset_digest\": \"sha256:17d5efa695de036a7acb616c0b2c4db21b71f34962c3a1ecfa3ed77ef97d7822\",
  \"personas\": [\"novice\", \"upset\"], \"locales\": [\"en\"],
  \"metrics\": [{\"name\": \"tone\", \"kind\": \"proportion\", \"higher_is_better\": true}]}"
prepare POST admin policies '{"name": "hello", "approvals": {"required": 2}, "evidence": {"level": 0},
  "rules": [{"metric": "hello/tone", "at_least": 0.85, "min_samples": 100}]}'
prepare PUT admin prefixes/acme/hello/channels/production '{"policy": "hello", "policy_version": 1}'
