// What every tutorial page shows: errors in words, and facts about the video.

const MEANING = {
  NotAllowedError: 'The page may not use the camera. Allow it in the browser (mostly left of the address), then try again.',
  NotFoundError: 'No camera was found on this device.',
  NotReadableError: 'The camera is in use by another program.',
  OverconstrainedError: 'The camera can’t deliver the size asked for.',
};

export const $ = (id) => document.getElementById(id);

/** Shows an error, an Error or a sentence, to the person in front of the page. */
export function showError(error) {
  if (error instanceof Error) console.error(error);
  $('error').textContent = MEANING[error?.name] ?? error?.message ?? String(error);
  $('error').hidden = false;
}

/** Takes the error away; with a text, only if it is that one. */
export function clearError(text) {
  if (text === undefined || $('error').textContent === text) $('error').hidden = true;
}

/** Shows a connection's state. */
export function showState(state) {
  $('state').textContent = state;
  if (state === 'failed') {
    showError('No path was found between this browser and the media server: a firewall, or an address it can’t reach.');
  }
}

/** Milliseconds as people read them: 1:05. */
export function time(millis) {
  const seconds = Math.round(millis / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}

/** Shows, once a second, what `peer()` receives. */
export function showFacts(peer) {
  setInterval(async () => {
    const current = peer();
    const video = await current?.video();
    if (current === peer()) write(video);
  }, 1000);
}

/** Shows that there is no video. */
export function clearFacts() {
  write(null);
}

function write(video) {
  $('codec').textContent = video?.codec ?? '–';
  $('resolution').textContent = video?.width ? `${video.width} × ${video.height}` : '–';
  $('fps').textContent = video?.fps ? Math.round(video.fps) : '–';
}
