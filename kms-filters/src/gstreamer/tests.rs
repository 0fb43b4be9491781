//! Commands that are taken, and those that are refused.

use kms_core::types::MediaType;

use super::class::{FilterType, chain};
use super::command::LONGEST;

fn kind(command: &str) -> MediaType {
    taken(command).kind()
}

fn taken(command: &str) -> super::chain::Chain {
    gst::init().expect("GStreamer");
    chain(command, FilterType::Autodetect).unwrap_or_else(|e| panic!("{command}: {e}"))
}

fn refused(command: &str) -> String {
    gst::init().expect("GStreamer");
    match chain(command, FilterType::Autodetect) {
        Ok(_) => panic!("{command} was taken"),
        Err(error) => {
            assert_eq!(error.code, protocol::Code::Marshall, "{command}");
            error.message
        }
    }
}

#[test]
fn filters_of_audio_and_video_are_taken_with_their_properties() {
    for command in [
        "videobalance",
        "videobalance saturation=0.0",
        "videoflip method=4",
        "timeoverlay color=4294967295",
        "videoflip method=horizontal-flip ! videobalance  hue=-0.5",
        "videoscale ! video/x-raw, width=160, height=120",
        "videoscale ! \"video/x-raw,width=160\"",
        "timeoverlay text=\"two words\" silent=false",
        "timeoverlay text=two\\ words",
    ] {
        assert_eq!(kind(command), MediaType::Video, "{command}");
    }
    assert_eq!(kind("volume volume=0.1 mute=false"), MediaType::Audio);
    assert_eq!(
        kind("audioecho delay=500000000 max-delay=1000000000"),
        MediaType::Audio
    );
}

#[test]
fn what_is_no_command_is_refused_with_a_reason() {
    let no_element = refused("nosuchelement");
    assert_eq!(
        no_element,
        "GStreamer element cannot be created: no element \"nosuchelement\""
    );
    for (command, why) in [
        ("", "an element is missing"),
        ("   ", "an element is missing"),
        ("!", "an element is missing"),
        ("videobalance !", "an element is missing"),
        ("! videobalance", "an element is missing"),
        ("videobalance ! ! videoflip", "an element is missing"),
        ("videobalance saturation", "is no NAME=VALUE"),
        ("videobalance saturation = 0", "is no NAME=VALUE"),
        (
            "videobalance nope=1",
            "no property \"nope\" in element \"videobalance\"",
        ),
        ("videobalance saturation=red", "is no value for 'saturation'"),
        ("videobalance saturation=2.5", "0 to 2 is possible"),
        ("videobalance saturation=nan", "is no value for 'saturation'"),
        ("videoflip method=sideways", "is no value for 'method'"),
        ("videoflip method=99", "is no value for 'method'"),
        ("timeoverlay text=\"never ends", "a quotation does not end"),
        ("videobalance \\", "nothing stands behind"),
        ("video/x-raw,width=160", "an element is missing"),
        ("videoscale ! video/x-raw,width=9000", "is not possible here"),
        ("videoscale ! audio/x-raw", "is not possible here"),
        (
            "videoscale ! video/x-raw(memory:GLMemory)",
            "is not possible here",
        ),
        ("videoscale ! video/;;;", "are no caps"),
        ("volume ! videobalance", "can't be in one filter"),
        ("vidéobalance", "is no element"),
    ] {
        let said = refused(command);
        assert!(said.contains(why), "{command:?}: {said}");
    }
    let long = format!("timeoverlay text={}", "x".repeat(LONGEST));
    assert!(refused(&long).contains("longer than 4096 bytes"));
    let many = ["videobalance"; 17].join(" ! ");
    assert!(refused(&many).contains("more than 16 elements"));
}

#[test]
fn nothing_reaches_files_networks_or_other_elements() {
    for command in [
        "filesrc location=/etc/passwd",
        "filesink location=/tmp/kms-filter-test",
        "videobalance ! filesink location=/tmp/kms-filter-test",
        "tcpserversink port=9999",
        "udpsink host=127.0.0.1",
        "appsrc",
        "appsink",
        "fakesink",
        "tee",
        "queue",
        "identity sleep-time=4000000000",
        "playbin uri=file:///etc/passwd",
        "uridecodebin uri=http://127.0.0.1/",
        "decodebin",
        "bin",
        "autovideoconvert",
        "videoconvertscale name=a a. ! fakesink",
        "( videobalance )",
        "(videobalance)",
        "bin.( videobalance )",
        "videobalance. ! fakesink",
        "file:///etc/passwd",
        "videobalance ! file:///tmp/kms-filter-test",
        "textoverlay text=x",
        "videomixer",
        "x264enc",
        "avdec_h264",
        "gdkpixbufoverlay location=/etc/passwd",
        "rsvgoverlay location=/etc/passwd",
        "gdkpixbufoverlay overlay-width=1 location=/etc/passwd",
        "videobalance name=other",
        "audioecho max-delay=18446744073709551615",
        "netsim",
        "timeoverlay font-desc='Sans 100000'",
        "timeoverlay text=<span>",
        "interlace pattern-offset=12",
        "audiofirfilter latency=10000000000",
        "videorate rate=0",
        "cacatv canvas-width=2147483647",
        "videocrop left=2147483647",
        "shmsink socket-path=/tmp/kms-filter-test",
    ] {
        let said = refused(command);
        assert!(
            said.starts_with("GStreamer element cannot be created: "),
            "{command}: {said}"
        );
    }
}

#[test]
fn the_kind_that_is_asked_for_has_to_be_that_of_the_elements() {
    gst::init().expect("GStreamer");
    assert!(chain("volume", FilterType::Video).is_err());
    assert!(chain("videobalance", FilterType::Audio).is_err());
    assert!(chain("videobalance", FilterType::Video).is_ok());
}

#[test]
fn properties_are_set_on_the_first_element_that_has_them_and_checked() {
    let chain = taken("videoflip ! videobalance");
    chain.set("saturation", "0.0").expect("the second has it");
    chain.set("method", "clockwise").expect("the first has it");
    let nope = taken("videobalance").set("nope", "0.0");
    assert_eq!(
        nope,
        Err("No property named 'nope' in object 'videobalance0'".into())
    );
    for (name, value) in [
        ("saturation", "-1"),
        ("saturation", ""),
        ("saturation", "inf"),
        ("hue", "much"),
        ("method", "99"),
        ("name", "x"),
        ("parent", "x"),
        ("", ""),
        ("qos", "perhaps"),
    ] {
        assert!(chain.set(name, value).is_err(), "{name}={value}");
    }
}
