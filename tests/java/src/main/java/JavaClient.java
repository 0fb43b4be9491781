import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.kurento.client.GStreamerFilter;
import org.kurento.client.KurentoClient;
import org.kurento.client.MediaPipeline;
import org.kurento.client.MediaProfileSpecType;
import org.kurento.client.MediaType;
import org.kurento.client.PassThrough;
import org.kurento.client.PlayerEndpoint;
import org.kurento.client.RecorderEndpoint;
import org.kurento.client.ServerType;
import org.kurento.client.Transaction;
import org.kurento.client.UriEndpointState;
import org.kurento.client.WebRtcEndpoint;
import org.kurento.commons.exception.KurentoException;

/** What an application in Java does with Kurento: arguments are the server's URL, a folder to write to, and a file to play. */
public class JavaClient {
  private static int checks;

  public static void main(String[] arguments) throws Exception {
    Path recording = Path.of(arguments[1], "recording.mp4");
    KurentoClient kurento = KurentoClient.create(arguments[0]);
    check("the server is known", kurento.getServerManager().getInfo().getType() == ServerType.KMS);

    BlockingQueue<String> events = new LinkedBlockingQueue<>();
    MediaPipeline pipeline = kurento.createMediaPipeline();
    PlayerEndpoint player = new PlayerEndpoint.Builder(pipeline, Path.of(arguments[2]).toUri().toString()).build();
    RecorderEndpoint recorder = new RecorderEndpoint.Builder(pipeline, recording.toUri().toString())
        .withMediaProfile(MediaProfileSpecType.MP4).build();
    WebRtcEndpoint browser = new WebRtcEndpoint.Builder(pipeline).build();
    GStreamerFilter filter = new GStreamerFilter.Builder(pipeline, "videoflip method=horizontal-flip").build();
    player.addEndOfStreamListener(event -> events.add("end of " + event.getSource().getId()));
    player.addErrorListener(event -> events.add("error " + event.getDescription()));
    recorder.addRecordingListener(event -> events.add("recording"));
    browser.addIceCandidateFoundListener(event -> events.add("candidate"));

    player.connect(filter);
    filter.connect(browser, MediaType.VIDEO);
    player.connect(recorder);
    recorder.record();
    player.play();
    expect(events, "recording");
    check("media flows", recorder.isMediaFlowingIn(MediaType.VIDEO));
    check("the file's length is known", player.getVideoInfo().getDuration() > 2_000);
    check("the browser's connection", filter.getSinkConnections(MediaType.VIDEO).get(0).getSink().getId().equals(browser.getId()));
    check("an offer", browser.generateOffer().contains("m=video"));
    browser.gatherCandidates();
    expect(events, "candidate");
    pipeline.setLatencyStats(true);
    check("statistics", recorder.getStats().containsKey(recorder.getId()));
    expect(events, "end of " + player.getId());
    recorder.stopAndWait();
    check("the recorder's state", recorder.getState() == UriEndpointState.STOP);
    check("a file", Files.size(recording) > 10_000);
    check("children", pipeline.getChildren().size() == 4);

    try {
      new PlayerEndpoint.Builder(pipeline, "nonsense").build();
      check("nonsense is refused", false);
    } catch (KurentoException refused) {
      check("why nonsense is refused: " + refused.getMessage(), refused.getMessage().contains("should be a URI"));
    }
    Transaction transaction = pipeline.beginTransaction();
    PassThrough pass = new PassThrough.Builder(pipeline).build(transaction);
    pass.connect(transaction, browser);
    transaction.commit();
    check("what a transaction made", pass.getName() != null);
    pipeline.release();
    kurento.destroy();
    System.out.println("java: " + checks + " checks passed");
    System.exit(0); // the client's threads would go on
  }

  private static void check(String what, boolean holds) {
    if (!holds) {
      System.out.println("java: failed: " + what);
      System.exit(1);
    }
    checks++;
  }

  /** Waits for an event; others may come before it, but no error. */
  private static void expect(BlockingQueue<String> events, String wanted) throws InterruptedException {
    String event = "";
    while (!wanted.equals(event)) {
      event = events.poll(30, TimeUnit.SECONDS);
      check("an event: " + wanted + ", not " + event, event != null && !event.startsWith("error"));
    }
  }
}
