"""How a media file is opened: locked to that one file, by demuxers that read nothing else.

HLS, DASH, concat, SDP and their kin are small texts that make ffmpeg open whatever they name: another file
of this machine, or an address inside the cluster. They are refused by naming what is allowed, so that a
demuxer that a later ffmpeg adds is refused as well until somebody has looked at it.
"""

from __future__ import annotations

from pathlib import Path

from media.faults import FaultCode, MediaFault

FORMAT_WHITELIST = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,3dostr,amr,amrnb,amrwb,apng,asf,asf_o,av1,avi,dirac,dnxhd,dv,flv,"
    "gif,gxf,h261,h263,h264,hevc,ivf,m4v,mjpeg,mpeg,mpegts,mpegvideo,mxf,nut,nuv,obu,ogg,pva,rm,roq,swf,vc1,"
    "wtv,yuv4mpegpipe,aac,ac3,adx,aiff,ape,au,caf,dts,dtshd,eac3,flac,g722,g726,gsm,loas,mlp,mp3,mpc,mpc8,"
    "oma,rso,shn,sox,spdif,tak,truehd,tta,voc,w64,wav,wv,xwma"
)
"""ffmpeg's names of the demuxers that read only the file they are given."""

LOCKS = {"protocol_whitelist": "file", "format_whitelist": FORMAT_WHITELIST}
"""Options of libavformat by name, for every way to open a user's file."""


def lock_arguments() -> list[str]:
    """Return the options that must stand before any `-i` of a user's file."""
    return [word for name, value in LOCKS.items() for word in (f"-{name}", value)]


def address(path: Path) -> str:
    """Return the file as ffmpeg must be given it: a name with a colon or a dash is still a file name."""
    return f"file:{path.absolute()}"


def check_not_empty(path: Path) -> None:
    """Refuse a file without bytes before any process is started for it.

    Raises:
        MediaFault: MEDIA_EMPTY.
    """
    if path.stat().st_size == 0:
        raise MediaFault(FaultCode.MEDIA_EMPTY, f"the file {path.name} is empty (0 bytes)")
