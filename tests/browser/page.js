// Runs in the browser. `window.peer` is one RTCPeerConnection with what tests ask of it.

class Peer {
  constructor() {
    this.frames = []; // when each frame was shown, and its width
    this.messages = [];
    this.candidates = [];
  }

  /** Begins a connection and answers the offer. See `offer` for the options. */
  async start(options = {}) {
    this.connection = new RTCPeerConnection(options.configuration);
    this.connection.onicecandidate = ({ candidate }) => {
      if (candidate) window.onLocalCandidate(candidate.toJSON());
    };
    this.connection.onconnectionstatechange = () => {
      if (this.connection.connectionState === 'connected') this.connectedAt ??= performance.now();
    };
    this.connection.ontrack = ({ track, streams }) => this.show(track, streams[0]);
    this.connection.ondatachannel = ({ channel }) => this.listen(channel);
    return this.offer(options);
  }

  /**
   * An offer. `send` and `receive` name kinds ("audio", "video"); `codec` is the only one offered for video besides its
   * retransmissions; `width` is that of the camera; `simulcast` sends three layers; `data` opens a channel.
   */
  async offer({ send = [], receive = [], codec, width = 640, simulcast = false, data } = {}) {
    if (send.length > 0) {
      const video = { width, height: (width * 3) / 4, frameRate: 30 };
      const wanted = { audio: send.includes('audio'), video: send.includes('video') && video };
      this.camera = await navigator.mediaDevices.getUserMedia(wanted);
    }
    for (const kind of new Set([...send, ...receive])) {
      const direction = !receive.includes(kind) ? 'sendonly' : send.includes(kind) ? 'sendrecv' : 'recvonly';
      const track = this.camera?.getTracks().find((t) => t.kind === kind);
      const layers = [
        { rid: 'q', scaleResolutionDownBy: 4, maxBitrate: 100_000 },
        { rid: 'h', scaleResolutionDownBy: 2, maxBitrate: 300_000 },
        { rid: 'f', maxBitrate: 900_000 },
      ];
      const transceiver = this.connection.addTransceiver(send.includes(kind) ? track : kind, {
        direction,
        streams: send.includes(kind) ? [this.camera] : [],
        sendEncodings: simulcast && kind === 'video' ? layers : undefined,
      });
      if (codec && kind === 'video') {
        const all = RTCRtpReceiver.getCapabilities('video').codecs;
        const mime = `video/${codec}`.toLowerCase();
        const wanted = all.filter((c) => [mime, 'video/rtx'].includes(c.mimeType.toLowerCase()));
        transceiver.setCodecPreferences(wanted);
      }
    }
    if (data) this.listen((this.channel = this.connection.createDataChannel(data)));
    await this.connection.setLocalDescription();
    this.offeredAt = performance.now();
    return this.connection.localDescription.sdp;
  }

  accept(type, sdp) {
    return this.connection.setRemoteDescription({ type, sdp });
  }

  /** Answers an offer of the server. */
  async answer(sdp) {
    await this.accept('offer', sdp);
    await this.connection.setLocalDescription();
    return this.connection.localDescription.sdp;
  }

  restartIce() {
    this.connection.restartIce();
    return this.offer();
  }

  addCandidate(candidate) {
    return this.connection.addIceCandidate(candidate);
  }

  listen(channel) {
    this.channel = channel;
    channel.onmessage = ({ data }) => this.messages.push(typeof data === 'string' ? data : data.byteLength);
  }

  show(track, stream) {
    const video = document.querySelector('video');
    if (stream) video.srcObject = stream;
    if (track.kind !== 'video') return;
    const shown = (now, { width }) => {
      this.frames.push([now, width]);
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }

  /** Numbers of what is received and sent. */
  async numbers() {
    const numbers = { audio: {}, video: {}, sent: {}, state: this.connection.connectionState };
    for (const report of (await this.connection.getStats()).values()) {
      if (report.type === 'inbound-rtp') numbers[report.kind] = report;
      if (report.type === 'outbound-rtp') numbers.sent[report.rid ?? report.kind] = report;
      if (report.type === 'codec') (numbers.codecs ??= {})[report.id] = report.mimeType;
    }
    numbers.video.codec = numbers.codecs?.[numbers.video.codecId];
    return numbers;
  }

  /** Frames shown after a moment: how many, the longest time between two, the first, and the widths seen. */
  framesSince(since) {
    const frames = this.frames.filter(([at]) => at > since);
    const gaps = frames.slice(1).map(([at], i) => at - frames[i][0]);
    return {
      count: frames.length,
      longestGap: Math.max(0, ...gaps),
      first: frames.length > 0 ? frames[0][0] - since : Infinity,
      widths: [...new Set(frames.map(([, width]) => width))],
      lastWidth: frames.at(-1)?.[1],
    };
  }

  now() {
    return performance.now();
  }
}

window.peer = new Peer();
