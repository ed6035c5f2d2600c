#!/bin/sh
# Makes buckets, users and what each may do; a second run changes nothing but passwords.
set -eu

store="http://$S3_HOST:$S3_PORT"
told=$(mktemp)

# $1: method and path, $2: body, $3: the error that means that it is there already.
ask() {
    method=${1%% *} path=${1#* }
    digest=$(printf %s "$2" | sha256sum | cut -d ' ' -f 1)
    status=$(curl --silent --show-error --output "$told" --write-out '%{http_code}' \
        --aws-sigv4 "aws:amz:$S3_REGION:s3" --user "$S3_ROOT_USER:$S3_ROOT_PASSWORD" \
        --header "x-amz-content-sha256: $digest" \
        --request "$method" --data-binary "$2" "$store$path")
    case $status in
    2*) ;;
    *)
        if [ -n "$3" ] && grep -q "$3" "$told"; then return 1; fi
        echo "$1: the store answered $status:" >&2
        cat "$told" >&2
        exit 1
        ;;
    esac
}

# $1: name, $2: password.
user() {
    account="<Account><Access>$1</Access><Secret>$2</Secret><Role>user</Role></Account>"
    ask 'PATCH /create-user' "$account" XAdminUserExists || ask "PATCH /update-user?access=$1" \
        "<MutableProps><Secret>$2</Secret></MutableProps>" ''
}

for bucket in lake warehouse mlflow; do
    ask "PUT /$bucket" '' BucketAlreadyOwnedByYou || echo "$bucket is there"
done
user lakehouse "$S3_LAKEHOUSE_PASSWORD"
user engine "$S3_ENGINE_PASSWORD"
user mlflow "$S3_MLFLOW_PASSWORD"

# Who writes a table is decided here: the landing what is raw and published, the engines the rest.
for bucket in lake warehouse mlflow; do
    policy=$(cat "$(dirname "$0")/policies/$bucket.json")
    ask "PUT /$bucket?policy=" "$policy" ''
done
