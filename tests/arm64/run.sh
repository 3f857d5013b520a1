#!/usr/bin/env bash
# The wheel on 64-bit Arm, emulated: nano's masks beside this processor's, and tests of what may differ.
#
#   sudo tests/arm64/run.sh [CPU [TEST...]]     files or folders; CPU as `qemu-aarch64 -cpu help` lists them
#   sudo tests/arm64/run.sh CPU all             all that `make test-wheel` runs, but for left_out.txt
#
# Files are tested a core each, as emulation is slow, and what each said is in build/arm64/tests.
#
# Debian's arm64 Python in a root of its own, under qemu-user; wheels are fetched and unpacked by the Python
# of here (PYTHON), as an emulated pip takes ten minutes, and NUMPY may name a version of numpy. Needs root,
# mmdebstrap, arch-test and a qemu-user of 8.2 or newer, whose /proc/cpuinfo is the emulated processor's: in
# 7.2, OpenVINO also hangs.
set -euo pipefail
cd "$(dirname "$0")/../.."
cpu=${1:-cortex-a76}
shift || true
python=${PYTHON:-.venv/bin/python}
release=${RELEASE:-trixie} version=${VERSION:-3.13}
work=$PWD/build/arm64 root=$PWD/build/arm64/root
case "$*" in
"")
    tests=(tests/runtimes/test_{formats,sessions,machine}.py tests/sam_edge/test_{prompts,image,nano}.py
        tests/sam_edge/masks/test_{by_definition,rle,polygons}.py)
    ;;
all) tests=(tests/runtimes tests/sam_edge tests/architecture tests/fuzz) ;;
*) tests=("$@") ;;
esac
left_out=$(sed -n 's/^tests/--deselect=&/p' tests/arm64/left_out.txt)
mkdir -p "$work"

# Emulators of Debian and Ubuntu are registered when they are installed, where a systemd does it.
binfmt=/proc/sys/fs/binfmt_misc
[ -e $binfmt/register ] || mount -t binfmt_misc binfmt_misc $binfmt
[ -e $binfmt/qemu-aarch64 ] || cat /usr/lib/binfmt.d/qemu-aarch64.conf > $binfmt/register

if [ ! -e "$root/.done" ]; then
    rm -rf "$root"
    mmdebstrap --quiet --arch=arm64 --variant=minbase --include=python3-minimal,libpython3-stdlib \
        "$release" "$root"
    touch "$root/.done"
fi

# Everything that `make test-wheel` installs, but for Arm.
site=$root/opt/site
rm -rf "$site" "$work/dist"
"$python" -m pip wheel --quiet --no-deps --wheel-dir "$work/dist" .
platforms=$(for glibc in $(seq 17 41); do echo "--platform manylinux_2_${glibc}_aarch64"; done)
# shellcheck disable=SC2086
"$python" -m pip install --quiet --no-warn-conflicts --no-compile --target "$site" --only-binary :all: \
    --implementation cp --python-version "$version" $platforms "$(ls "$work"/dist/*.whl)[cpu,openvino,serve,text]" \
    'pytest>=8.3' 'hypothesis>=6.100' 'pycocotools>=2.0.8' 'tifffile>=2024.1' 'httpx>=0.27' \
    'pytest-timeout>=2.4' "numpy${NUMPY:+==$NUMPY}"

# In a mount namespace of its own, so that nothing stays mounted whatever happens; what is written in the
# checkout is nobody else's and goes with it.
arm64() {
    QEMU_CPU=$cpu ROOT=$root unshare --mount bash -euc '
        mkdir -p "$ROOT/checkout"
        mount -t proc proc "$ROOT/proc" && mount --rbind /sys "$ROOT/sys" && mount --rbind /dev "$ROOT/dev"
        mount -t tmpfs tmpfs "$ROOT/mnt" && mkdir "$ROOT"/mnt/{written,work}
        mount -t overlay overlay "$ROOT/checkout" -o lowerdir="$PWD",upperdir="$ROOT/mnt/written",workdir="$ROOT/mnt/work"
        exec env -i QEMU_CPU="$QEMU_CPU" HOME=/root PYTHONPATH=/opt/site PYTHONPYCACHEPREFIX=/tmp/pycache \
            HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis \
            PATH=/usr/bin:/bin /usr/sbin/chroot "$ROOT" /bin/sh -ec "cd /checkout; exec \"\$@\"" - "$@"' - "$@"
}

arm64 grep -m1 Features /proc/cpuinfo
# -P: the wheel is under test, not the folder that this is called in.
arm64 python3 -P tests/arm64/products.py
"$python" tests/arm64/masks.py write "$work/here.npz"
arm64 python3 -P tests/arm64/masks.py write /tmp/there.npz
"$python" tests/arm64/masks.py compare "$work/here.npz" "$root/tmp/there.npz"

# Each file is a process of pytest's own: one that hangs or dies takes no other with it. Hypothesis's own
# profile for machines of unknown speed has no deadline for an example. pytest ends with 5 where it was
# left without a test.
logs=$work/tests
rm -rf "$logs" && mkdir "$logs"
one() {
    local file=$1 log=$logs/${1//\//-}.log code=0
    # shellcheck disable=SC2086
    arm64 python3 -P -m pytest -p no:cacheprovider -q -m "not slow" --hypothesis-profile=ci --timeout=7200 \
        -o faulthandler_timeout=9000 -o faulthandler_exit_on_timeout=true $left_out "$file" > "$log" 2>&1 || code=$?
    echo "$file: $(tail -n 1 "$log")"
    [ $code = 0 ] || [ $code = 5 ]
}
export -f arm64 one
export cpu root logs left_out
failed=0
find "${tests[@]}" -name 'test_*.py' | sort | xargs -P "$(nproc)" -I FILE bash -c 'one FILE' || failed=1
grep -hE '^(FAILED|ERROR)' "$logs"/*.log || true
grep -hE ' in [0-9.]+s' "$logs"/*.log | grep -oE '[0-9]+ (passed|failed|skipped|deselected|errors?)' |
    awk -v cpu="$cpu" '{ sum[$2] += $1 } END { for (what in sum) printf "%d %s, ", sum[what], what; print cpu }'
exit $failed
