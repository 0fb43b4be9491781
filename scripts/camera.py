#!/usr/bin/python3
"""A network camera made of software: an RTSP server with a test picture and a test sound.

The picture is a moving pattern with the time of day in it. At every full second of the stream the whole picture turns
white for 100 ms, and a tone of 1 kHz sounds for the same 100 ms: whoever records or forwards the stream can measure how
far picture and sound have drifted apart (tests/media/flash_beep.py does).

Once it listens it prints one line for each camera on stdout, and nothing else: "camera: rtsp://127.0.0.1:8554/camera".
SIGTERM and SIGINT end it. SIGUSR1 freezes it: it stays connected and answers requests, but sends no media; SIGUSR2 thaws
it. scripts/setup.sh --camera installs what it needs.
"""
# The first line names Debian's own Python, because only that one finds Debian's python3-gi.
import argparse
import datetime
import os
import signal
import sys
import time

try:
    import gi

    for library in "Gst", "GstRtsp", "GstRtspServer":
        gi.require_version(library, "1.0")
    from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer
except (ImportError, ValueError) as error:
    sys.exit(f"camera.py: {error}. Run scripts/setup.sh --camera, and start this with /usr/bin/python3.")

# One thread, and no B-frames, as in real cameras. Key frames come at fixed distances only, or else every flash would be
# taken for a change of scene. Each has the parameter sets in front of it, for those who join late.
VIDEO = {
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast threads=1 bitrate={bitrate} key-int-max={keyframes}"
            " option-string=scenecut=0 ! rtph264pay name=pay{n} pt=96 config-interval=-1",
    "h265": "x265enc tune=zerolatency speed-preset=ultrafast bitrate={bitrate} key-int-max={keyframes}"
            " option-string=scenecut=0:open-gop=0:pools=1:vbv-maxrate={bitrate}:vbv-bufsize={bitrate}"
            " ! rtph265pay name=pay{n} pt=96 config-interval=-1",
    "mjpeg": "jpegenc quality=50 ! rtpjpegpay name=pay{n}",
    "none": None,
}

# For each codec: sample rate, elements, and samples that the encoder puts in front of the sound. A decoder is late by those,
# and RTP has no field that says so: the timestamps behind the encoder are set back by as much. (opusenc does it itself.)
AUDIO = {
    "aac": (48000, "avenc_aac name=encoder bitrate=64000 ! rtpmp4gpay name=pay{n} pt=97", 1024),
    "opus": (48000, "opusenc name=encoder bitrate=64000 ! rtpopuspay name=pay{n} pt=97", 0),
    "pcmu": (8000, "mulawenc name=encoder ! rtppcmupay name=pay{n}", 0),
    "pcma": (8000, "alawenc name=encoder ! rtppcmapay name=pay{n}", 0),
    "none": None,
}

# Sound is made in pieces, fifty a second: a beep is five of them.
PIECES = 50

# Frames later than this are left out: a machine too slow for its cameras gets fewer frames, not older and older ones. Those
# with which a flash begins stay.
TOO_LATE = Gst.SECOND // 2


def number(low, high, kind=int):
    """What argparse takes as the type of an argument that is a number within bounds."""
    def parse(text):
        value = kind(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text} is not between {low} and {high}")
        return value
    parse.__name__ = "number"
    return parse


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)

    def add(name, text, default=None, **more):
        parser.add_argument(name, default=default, help=text + (f" (default {default})" if default else ""), **more)

    add("--port", "TCP port of RTSP; 0 takes a free one", 8554, type=number(0, 65535))
    add("--address", "address to listen on", "127.0.0.1")
    add("--path", "path of the URL; a number is put behind it when there are several cameras", "/camera")
    add("--cameras", "how many cameras, each with an encoder of its own", 1, type=number(1, 1000), metavar="N")
    add("--video", "one of " + ", ".join(VIDEO), "h264", choices=VIDEO, metavar="CODEC")
    add("--audio", "one of " + ", ".join(AUDIO), "aac", choices=AUDIO, metavar="CODEC")
    add("--width", "pixels, even", 1280, type=number(64, 4096))
    add("--height", "pixels, even", 720, type=number(64, 4096))
    add("--fps", "frames per second", 25, type=number(1, 240))
    add("--bitrate", "of the video in kbit/s; mjpeg takes what it needs", 2000, type=number(50, 100000), metavar="KBIT/S")
    add("--keyframe-seconds", "seconds from one key frame to the next", 1, type=number(0.01, 3600, float), metavar="S")
    add("--change-size", "every so many seconds change between the full and half the width and height, within the session",
        0, type=number(0.1, 3600, float), metavar="S")
    parser.add_argument("--tell-flashes", action="store_true",
                        help="print for each flash when its first picture was made: flash: milliseconds since 1970")
    add("--protocols", "tcp, udp or any: how media may be sent", "any", choices=["tcp", "udp", "any"], metavar="PROTOCOL")
    add("--user", "ask for this name ...")
    add("--password", "... and this password")
    add("--certificate", "PEM file with a certificate and its key: RTSP over TLS alone (rtsps://)", metavar="FILE")
    add("--auth", "basic or digest: how to ask for them", "digest", choices=["basic", "digest"], metavar="METHOD")
    args = parser.parse_args()
    if args.video == args.audio == "none":
        parser.error("a camera needs video or audio")
    if (args.user is None) != (args.password is None):
        parser.error("--user and --password go together")
    # Colours come for two pixels together, and RTP counts those of JPEG by eights, in one byte.
    step = (8 if args.video == "mjpeg" else 2) * (2 if args.change_size else 1)
    if args.width % step or args.height % step:
        parser.error(f"with these options --width and --height are multiples of {step}")
    if args.video == "mjpeg" and max(args.width, args.height) > 255 * 8:
        parser.error(f"mjpeg over RTP is at most {255 * 8} pixels wide and high")
    if not args.path.startswith("/"):
        parser.error("--path starts with /")
    return args


class Camera:
    """What is encoded once for all viewers of one path, from the first of them to the last."""

    frozen = False  # all cameras at once

    def __init__(self, args, name, media):
        self.args, self.name = args, name
        self.frames = self.pieces = 0
        self.is_prepared = False
        element = media.get_element()
        if picture := element.get_by_name("picture"):
            self.picture, self.clock, self.flash = picture, element.get_by_name("clock"), element.get_by_name("flash")
            self.size = element.get_by_name("size")
            pad = picture.get_static_pad("src")
            pad.add_probe(Gst.PadProbeType.BUFFER, self.on_picture)
            pad.add_probe(Gst.PadProbeType.QUERY_UPSTREAM, self.on_query)
        if sound := element.get_by_name("sound"):
            self.beep = element.get_by_name("beep")
            pad = sound.get_static_pad("src")
            pad.add_probe(Gst.PadProbeType.BUFFER, self.on_sound)
            pad.add_probe(Gst.PadProbeType.QUERY_UPSTREAM, self.on_query)
            rate, _, delay = AUDIO[args.audio]
            element.get_by_name("encoder").get_static_pad("src").set_offset(-delay * Gst.SECOND // rate)
        media.connect("prepared", self.on_prepared)

    @staticmethod
    def launch(args):
        """The description of the pipeline, for gst_parse_launch()."""
        parts = []
        if args.video != "none":
            parts.append(
                "videotestsrc name=picture is-live=true pattern=smpte horizontal-speed=2"
                f" ! video/x-raw,format=I420,width={args.width},height={args.height},framerate={args.fps}/1"
                " ! textoverlay name=clock valignment=top halignment=center font-desc=\"Monospace Bold 18\""
                " ! videobalance name=flash"
                + (" ! videoscale ! capsfilter name=size" if args.change_size else "")
                + " ! " + VIDEO[args.video].format(
                    n=0, bitrate=args.bitrate, keyframes=max(1, round(args.fps * args.keyframe_seconds))))
        if args.audio != "none":
            rate, encoder, _ = AUDIO[args.audio]
            parts.append(
                f"audiotestsrc name=sound is-live=true freq=1000 volume=0.5 samplesperbuffer={rate // PIECES}"
                f" ! audio/x-raw,format=S16LE,rate={rate},channels=1 ! volume name=beep ! audioconvert ! "
                + encoder.format(n=len(parts)))
        return "( " + "  ".join(parts) + " )"

    # Both sources begin their timestamps at the moment when each of them happened to start, some milliseconds apart. Flash
    # and beep are to be at full seconds, and together: so the two functions below write timestamps that begin at 0.

    def on_picture(self, _pad, info):
        frame, buffer = self.frames, info.get_buffer()
        self.frames += 1
        is_second = frame % self.args.fps == 0
        is_late = self.picture.get_current_running_time() > buffer.pts + TOO_LATE
        if self.is_stopped() or is_late and not is_second:
            return Gst.PadProbeReturn.DROP
        buffer.pts = now = frame * Gst.SECOND // self.args.fps
        is_flash = frame % self.args.fps * 10 < self.args.fps
        if self.args.tell_flashes and is_second:
            print(f"flash: {time.time() * 1000:.1f}", flush=True)
        self.flash.set_property("brightness", 1.0 if is_flash else 0.0)
        self.flash.set_property("saturation", 0.0 if is_flash else 1.0)
        self.clock.set_property("text", f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S.%f}"[:-3] + "  " + self.name)
        if self.size:
            part = 1 + int(now / Gst.SECOND / self.args.change_size) % 2
            size = f"video/x-raw,width={self.args.width // part},height={self.args.height // part}"
            self.size.set_property("caps", Gst.Caps.from_string(size))
        return Gst.PadProbeReturn.OK

    def on_sound(self, _pad, info):
        piece = self.pieces
        self.pieces += 1
        if self.is_stopped():
            return Gst.PadProbeReturn.DROP
        info.get_buffer().pts = piece * Gst.SECOND // PIECES
        self.beep.set_property("mute", piece % PIECES * 10 >= PIECES)
        return Gst.PadProbeReturn.OK

    @staticmethod
    def on_query(_pad, info):
        """Test sources say that they can seek. The server then goes back to the start for all, when another viewer comes."""
        is_seeking = info.get_query().type == Gst.QueryType.SEEKING
        return Gst.PadProbeReturn.DROP if is_seeking else Gst.PadProbeReturn.OK

    def is_stopped(self):
        """Whether nothing is to be encoded. Until the media is prepared it is, for DESCRIBE needs the codecs' settings."""
        return Camera.frozen and self.is_prepared

    def on_prepared(self, media):
        self.is_prepared = True
        rtpbin = next(child for child in media.get_stream(0).get_joined_bin().children
                      if child.get_factory().get_name() == "rtpbin")
        # The clock of the media, not the moment of sending, goes into sender reports: sound is sent a packet's length later
        # than picture of the same time, and receivers who go by the reports would play it later.
        rtpbin.set_property("rtcp-sync-send-time", False)
        for pad in rtpbin.srcpads:
            if Camera.frozen and pad.get_name().startswith("send_rtp_src"):
                pad.add_probe(Gst.PadProbeType.BUFFER | Gst.PadProbeType.BUFFER_LIST, self.on_packets)

    @staticmethod
    def on_packets(_pad, _info):
        """Keeps what was encoded for a DESCRIBE within a freeze from being sent."""
        return Gst.PadProbeReturn.DROP if Camera.frozen else Gst.PadProbeReturn.REMOVE


def protect(server, args):
    """Speaks TLS if there is a certificate, and lets in only who knows the user's name and password if there are some."""
    auth = GstRtspServer.RTSPAuth()
    if args.certificate is not None:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_file(args.certificate))
    token = GstRtspServer.RTSPToken()
    token.set_string(GstRtspServer.RTSP_TOKEN_MEDIA_FACTORY_ROLE, "viewer")
    if args.user is None:
        auth.set_default_token(token)
        server.set_auth(auth)
        return
    if args.auth == "basic":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.BASIC)
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(args.user, args.password), token)
    else:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(args.user, args.password, token)
    server.set_auth(auth)


def add_camera(server, args, path):
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(Camera.launch(args))
    factory.set_shared(True)
    udp = GstRtsp.RTSPLowerTrans.UDP | GstRtsp.RTSPLowerTrans.UDP_MCAST
    tcp = GstRtsp.RTSPLowerTrans.TCP
    factory.set_protocols({"tcp": tcp, "udp": udp, "any": udp | tcp}[args.protocols])
    factory.connect("media-configure", lambda _factory, media: Camera(args, path, media))
    factory.add_role_from_structure(
        Gst.Structure.from_string("viewer, media.factory.access=true, media.factory.construct=true")[0])
    server.get_mount_points().add_factory(path, factory)


def main():
    args = parse_arguments()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(args.address)
    server.set_service(str(args.port))
    if args.user is not None or args.certificate is not None:
        protect(server, args)
    paths = [args.path] if args.cameras == 1 else [f"{args.path}{n}" for n in range(1, args.cameras + 1)]
    for path in paths:
        add_camera(server, args, path)
    if server.attach(None) == 0:
        sys.exit(f"camera.py: can't listen on {args.address} port {args.port}; is another camera running?")

    loop = GLib.MainLoop()

    def on_signal(does):
        def handler():
            does()
            return GLib.SOURCE_CONTINUE
        return handler

    def freeze(frozen):
        Camera.frozen = frozen

    for number_, does in [(signal.SIGTERM, loop.quit), (signal.SIGINT, loop.quit),
                          (signal.SIGUSR1, lambda: freeze(True)), (signal.SIGUSR2, lambda: freeze(False))]:
        GLib.unix_signal_add(GLib.PRIORITY_HIGH, number_, on_signal(does))
    # Viewers over UDP who went away without a word, a minute ago.
    GLib.timeout_add_seconds(2, lambda: server.get_session_pool().cleanup() >= 0)

    host = f"[{args.address}]" if ":" in args.address else args.address
    scheme = "rtsp" if args.certificate is None else "rtsps"
    for path in paths:
        print(f"camera: {scheme}://{host}:{server.get_bound_port()}{path}", flush=True)
    loop.run()
    # Without waiting for the encoders' threads, which call back into a Python that is being taken down.
    os._exit(0)


if __name__ == "__main__":
    main()
