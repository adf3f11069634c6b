#!/bin/sh
# Inside a build: installs Debian packages, or upgrades those that are there (--upgrade), from where the build's secret says or the
# base does, and leaves no list or log of it.
set -eu

sources=
if [ -s /run/secrets/apt_sources ]; then
    sources="-o Dir::Etc::SourceList=/run/secrets/apt_sources -o Dir::Etc::SourceParts=/nowhere"
fi
# shellcheck disable=SC2086 # one word for each option
apt-get $sources update -qq
case $1 in --upgrade) action=dist-upgrade && shift ;; *) action=install ;; esac
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive apt-get $sources "$action" -qq --yes --no-install-recommends "$@" >/dev/null
apt-get clean
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/debconf/*-old /var/cache/ldconfig/aux-cache /var/log/*
# Whoever needs a manual is not in a container; the licences stay.
find /usr/share/doc -type f ! -name copyright -delete
find /usr/share/doc -type d -empty -delete
rm -rf /usr/share/man/* /usr/share/info/*
