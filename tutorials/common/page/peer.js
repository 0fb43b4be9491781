// One WebRTC connection to the media server. The page always makes the offer; candidates trickle both ways.

export class Peer {
  #pc = new RTCPeerConnection({ bundlePolicy: 'max-bundle' });
  #early = []; // the server's candidates that came before its answer
  #closed = false;

  /**
   * @param oncandidate called with each candidate of ours, to be sent to the server
   * @param onstate called with 'connecting', 'connected', 'disconnected' or 'failed'
   * @param video the <video> that shows what comes from the server, if anything does
   */
  constructor({ oncandidate, onstate, video }) {
    this.#pc.onicecandidate = ({ candidate }) => candidate?.candidate && oncandidate(candidate);
    this.#pc.onconnectionstatechange = () => onstate?.(this.#pc.connectionState);
    const incoming = new MediaStream();
    this.#pc.ontrack = ({ track }) => {
      incoming.addTrack(track);
      if (video) video.srcObject = incoming;
    };
  }

  /** Makes the offer. `stream` is what we send, or nothing; `receive` says whether we want media back. */
  async offer({ stream, receive }) {
    for (const track of stream?.getTracks() ?? []) {
      this.#pc.addTransceiver(track, { direction: receive ? 'sendrecv' : 'sendonly', streams: [stream] });
    }
    if (!stream && receive) {
      this.#pc.addTransceiver('audio', { direction: 'recvonly' });
      this.#pc.addTransceiver('video', { direction: 'recvonly' });
    }
    await this.#pc.setLocalDescription();
    return this.#pc.localDescription.sdp;
  }

  /** Takes the server's answer. */
  async answer(sdp) {
    await this.#pc.setRemoteDescription({ type: 'answer', sdp });
    await Promise.all(this.#early.splice(0).map((c) => this.#pc.addIceCandidate(c)));
  }

  /** Takes one of the server's candidates. */
  async addCandidate(candidate) {
    if (this.#closed) return;
    if (!this.#pc.remoteDescription) this.#early.push(candidate);
    else await this.#pc.addIceCandidate(candidate);
  }

  /** What arrives (or, where nothing does, what is sent): codec, width, height, frames a second. */
  async video() {
    const all = [...(await this.#pc.getStats()).values()];
    const flows = all.filter((s) => s.kind === 'video' && /^(in|out)bound-rtp$/.test(s.type));
    const flow = flows.find((s) => s.type === 'inbound-rtp' && s.framesDecoded) ?? flows.find((s) => s.framesEncoded);
    if (!flow) return null;
    const codec = all.find((s) => s.id === flow.codecId)?.mimeType.split('/')[1];
    return { codec, width: flow.frameWidth, height: flow.frameHeight, fps: flow.framesPerSecond };
  }

  close() {
    this.#closed = true;
    this.#pc.close();
  }
}

/** The camera and the microphone, or whichever of them there is. */
export async function camera() {
  if (!navigator.mediaDevices) {
    throw new Error('The browser gives a page its camera only over https, or on this machine over http://127.0.0.1.');
  }
  const size = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: true, video: size });
  } catch (error) {
    if (error.name !== 'NotFoundError') throw error;
    return navigator.mediaDevices.getUserMedia({ video: size }); // no microphone: the picture alone will do
  }
}

/** Switches a stream's camera and microphone off. */
export function stop(stream) {
  stream?.getTracks().forEach((track) => track.stop());
}
