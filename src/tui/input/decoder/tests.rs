use crossterm::event::{KeyEvent, KeyEventKind, MouseButton, MouseEventKind};

use super::*;

/// What pieces are, each with the pause before it in milliseconds; the silence after the last
/// one is long.
fn decode(pieces: &[(u64, &[u8])]) -> Vec<Event> {
    let mut decoder = Decoder::default();
    let mut now = Instant::now();
    let mut events = Vec::new();
    for (pause, bytes) in pieces {
        let next = now + Duration::from_millis(*pause);
        if let Some(due) = decoder.due().filter(|due| *due <= next) {
            events.extend(decoder.silence(due));
        }
        now = next;
        events.extend(decoder.feed(bytes, now));
    }
    events.extend(decoder.silence(now + Duration::from_secs(60)));
    events
}

fn one(bytes: &[u8]) -> Vec<Event> {
    decode(&[(0, bytes)])
}

fn shown(events: &[Event]) -> String {
    let words = events.iter().map(|event| match event {
        Event::Key(KeyEvent {
            code, modifiers, ..
        }) => {
            let mut word = String::new();
            for (modifier, name) in [
                (KeyModifiers::CONTROL, "ctrl-"),
                (KeyModifiers::ALT, "alt-"),
                (KeyModifiers::SHIFT, "shift-"),
            ] {
                if modifiers.contains(modifier) {
                    word.push_str(name);
                }
            }
            match code {
                KeyCode::Char(c) => word.push(*c),
                code => word.extend([format!("{code:?}")]),
            }
            word
        }
        Event::Paste(text) => format!("paste({text})"),
        Event::Mouse(mouse) => format!("{:?}@{},{}", mouse.kind, mouse.column, mouse.row),
        event => format!("{event:?}"),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn keys_are_keys() {
    for (text, keys) in [
        ("qG ", "q shift-G  "),
        ("ä€😀Ä", "ä € 😀 shift-Ä"),
        (
            "\r\t\x7f\x0c\x03\x1a\x0a",
            "Enter Tab Backspace ctrl-l ctrl-c ctrl-z ctrl-j",
        ),
        ("jjj", "j j j"),
    ] {
        let mut spelled = vec![String::new(); text.chars().count()];
        for (key, c) in spelled.iter_mut().zip(text.chars()) {
            key.push(c);
        }
        let pieces: Vec<(u64, &[u8])> = spelled.iter().map(|key| (1, key.as_bytes())).collect();
        assert_eq!(shown(&decode(&pieces)), keys, "{text}");
    }
    for (bytes, keys) in [
        (
            &b"\x1b[A\x1b[B\x1bOC\x1b[D\x1b[H\x1bOF"[..],
            "Up Down Right Left Home End",
        ),
        (
            b"\x1b[1~\x1b[4~\x1b[5~\x1b[6~\x1b[3~\x1b[Z",
            "Home End PageUp PageDown Delete shift-BackTab",
        ),
        (
            b"\x1bOP\x1b[[A\x1b[11~\x1b[15~\x1b[24~\x1b[1;5Q",
            "F(1) F(1) F(1) F(5) F(12) ctrl-F(2)",
        ),
        (b"\x1b[1;5C\x1b[1;2A\x1bc", "ctrl-Right shift-Up alt-c"),
        (b"\x1b", "Esc"),
        (b"\x1b\x1bq", "Esc q"),
        // Kitty's and xterm's ways to report a key with modifiers.
        (
            b"\x1b[99;5u\x1b[113u\x1b[27;5;99~\x1b[27u",
            "ctrl-c q ctrl-c Esc",
        ),
        (
            b"\x1b[<0;5;9M\x1b[<0;5;9m\x1b[<65;1;1M",
            "Down(Left)@4,8 Up(Left)@4,8 ScrollDown@0,0",
        ),
        (b"\x1b[M !!\x1b[32;2;3M", "Down(Left)@0,0 Down(Left)@1,2"),
        (b"\x1b[200~two\nlines\x1b[201~x", "paste(two\nlines) x"),
    ] {
        assert_eq!(shown(&one(bytes)), keys, "{}", bytes.escape_ascii());
        let single: Vec<(u64, &[u8])> = bytes.chunks(1).map(|byte| (1, byte)).collect();
        assert_eq!(
            shown(&decode(&single)),
            keys,
            "torn: {}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn several_characters_in_one_piece_were_not_typed() {
    // A key that is held down comes in one piece on a slow line.
    assert_eq!(shown(&one(b"jjjj")), "j j j j");
    assert_eq!(shown(&one(b"\t\t\r")), "Tab Tab Enter");
    for text in ["cy", "q\n", "rm -rf\r", "ä€", "\tx", "yes\nno\n"] {
        assert_eq!(shown(&one(text.as_bytes())), format!("paste({text})"));
    }
    // The last piece of a long paste may be one character.
    assert_eq!(
        shown(&decode(&[(0, b"some text"), (1, b"q"), (500, b"q")])),
        "paste(some text) paste(q) q"
    );
    // What follows it in the same piece is what it always was.
    assert_eq!(shown(&one(b"text\x1b[A")), "paste(text) Up");
    assert_eq!(shown(&one(b"\x1b[Btext")), "Down paste(text)");
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]
    /// Whatever comes, in whatever pieces: nothing panics, and a key that is pressed after a
    /// pause is that key.
    #[test]
    fn any_bytes_in_any_pieces_leave_the_keys_working(
        bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        cuts in proptest::collection::vec((0_u64..600, 1_usize..40), 1..40),
    ) {
        let mut rest = bytes.as_slice();
        let mut pieces: Vec<(u64, &[u8])> = Vec::new();
        for (pause, length) in cuts {
            let (piece, after) = rest.split_at(length.min(rest.len()));
            pieces.push((pause, piece));
            rest = after;
        }
        pieces.push((1, rest));
        // At most one of them is taken for the end of what was begun.
        for _ in 0..4 {
            pieces.push((700, b"\x03"));
        }
        pieces.push((700, b"q"));
        let events = decode(&pieces);
        let last = events.last().map(|event| shown(std::slice::from_ref(event)));
        proptest::prop_assert_eq!(last.as_deref(), Some("q"));
    }
}

/// What terminals answer, also to questions that another program asked.
const REPLIES: [&[u8]; 24] = [
    b"\x1b]11;rgb:1e1e/bbbb/cccc\x1b\\",
    b"\x1b]11;rgb:bbbb/bbbb/bbbb\x07",
    b"\x1b]4;1;rgb:cccc/0000/0000\x1b\\",
    b"\x1b]52;c;Y2MgeHggYWE=\x1b\\",
    "\x1b]lcbau ✜ title\x1b\\".as_bytes(),
    b"\x1bP1$r0m\x1b\\",
    b"\x1bP>|tmux 3.4 cbau\x1b\\",
    b"\x1bP!|7E565445\x1b\\",
    b"\x1bP1+r544e=787465726d\x1b\\",
    b"\x1b_Gi=31;OK\x1b\\",
    b"\x1b^private cau\x1b\\",
    b"\x1bXcau\x1b\\",
    b"\x1b[?62;1;2;22c",
    b"\x1b[>41;354;0c",
    b"\x1b[=1c",
    b"\x1b[0n",
    b"\x1b[24;80R",
    b"\x1b[1;2R",
    b"\x1b[?2026;2$y",
    b"\x1b[8;24;80t",
    b"\x1b[?1u",
    b"\x1b[?997;1n",
    b"\x1b[2;1;1;112;112;1;0x",
    b"\x9b?62;22c\x9d11;rgb:cc/aa/bb\x07",
];

#[test]
fn what_a_terminal_answers_is_no_key() {
    for reply in REPLIES {
        let name = reply.escape_ascii();
        assert_eq!(shown(&one(reply)), "", "{name}");
        assert_eq!(
            shown(&one(&[reply, b"q"].concat())),
            "q",
            "{name}: the next key is one"
        );
        assert_eq!(shown(&one(&[reply, reply, b"q"].concat())), "q", "{name}");
        for at in 1..reply.len() {
            let (first, rest) = reply.split_at(at);
            // A single byte alone could have been typed; replies do not come so.
            for pause in [1, 40, 2_000] {
                let torn = rest.len() > 1 && !(pause > 40 && first == b"\x1b");
                if torn || pause == 1 {
                    let events = decode(&[(0, first), (pause, rest), (1_000, b"q")]);
                    assert_eq!(shown(&events), "q", "{name} torn at {at} for {pause} ms");
                }
            }
        }
    }
}

#[test]
fn what_is_not_whole_never_acts_and_takes_no_keys_for_long() {
    for half in [
        &b"\x1b]11;rgb:bb"[..],
        b"\x1bP1$r",
        b"\x1b_Gi",
        b"\x1b[200~cbau",
        b"\x1b]11;rgb:bb\x1b",
        b"\x1b]",
    ] {
        let name = half.escape_ascii();
        assert_eq!(shown(&one(half)), "", "{name}");
        let typed = decode(&[(0, half), (900, b"q"), (200, b"q")]);
        assert!(shown(&typed).ends_with('q'), "{name}: {typed:?}");
        assert_eq!(
            shown(&one(&[half, b"\x03"].concat())),
            if half.starts_with(b"\x1b[200~") {
                ""
            } else {
                "ctrl-c"
            }
        );
    }
    // Their last byte is still theirs, however late it comes.
    for half in [&b"\x1b["[..], b"\x1b[1;5", b"\x1bO", b"\x1b[["] {
        let events = decode(&[(0, half), (3_000, b"A"), (300, b"q")]);
        assert!(!shown(&events).contains("shift-A"), "{events:?}");
        assert!(shown(&events).ends_with('q'), "{events:?}");
    }
    // A slow line: Esc acted, the rest does not.
    assert_eq!(
        shown(&decode(&[(0, b"\x1b"), (200, b"[A"), (500, b"q")])),
        "Esc Up q"
    );
    assert_eq!(
        shown(&decode(&[
            (0, b"\x1b"),
            (200, b"["),
            (200, b"A"),
            (500, b"q")
        ])),
        "Esc Up q"
    );
    assert_eq!(
        shown(&decode(&[
            (0, b"\x1b"),
            (200, b"]11;rgb:cc"),
            (9, b"aa\x07"),
            (500, b"q")
        ])),
        "Esc q"
    );
    assert_eq!(
        shown(&decode(&[(0, b"\x1b"), (2_000, b"O")])),
        "Esc shift-O",
        "typed"
    );
    assert_eq!(shown(&one(b"\xe2\x82q\xff\xc0r")), "q r", "no text");
}

#[test]
fn pasted_text_is_never_keys() {
    let long = [b"\x1b[200~", &b"cbauxy\r".repeat(40_000)[..], b"\x1b[201~q"].concat();
    let events: Vec<Event> = decode(
        &long
            .chunks(4_096)
            .map(|piece| (1, piece))
            .collect::<Vec<_>>(),
    );
    assert_eq!(events.len(), 2);
    let Event::Paste(text) = &events[0] else {
        panic!("{events:?}")
    };
    assert!(text.starts_with("cbauxy\rcbauxy\r") && text.len() <= PASTED + 8);
    assert_eq!(shown(&events[1..]), "q");
    assert_eq!(
        shown(&one(b"\x1b[200~a\x1b[2~b\x1b[200~c\x1b[201~")),
        "paste(a\u{1b}[2~b\u{1b}[200~c)"
    );
}

#[test]
fn keys_with_other_modifiers_and_releases_are_not_those_without() {
    for bytes in [
        &b"\x1b[99;9u"[..],
        b"\x1b[99;1:3u",
        b"\x1b[1;9A",
        b"\x1b[1;1:3A",
        b"\x1b[57441u",
        b"\x1b[I\x1b[O",
    ] {
        assert_eq!(shown(&one(bytes)), "", "{}", bytes.escape_ascii());
    }
    let repeated = one(b"\x1b[106;1:2u");
    assert!(matches!(&repeated[..], [Event::Key(key)] if key.kind == KeyEventKind::Repeat));
    assert_eq!(shown(&one(b"\x1b[106;129u")), "j", "num lock");
    let drag = one(b"\x1b[<32;7;8M");
    assert!(
        matches!(&drag[..], [Event::Mouse(mouse)] if mouse.kind == MouseEventKind::Drag(MouseButton::Left))
    );
}

mod any_bytes {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever came before, a person gets out.
        #[test]
        fn an_interrupt_arrives(pieces in vec(vec(any::<u8>(), 1..40), 0..8)) {
            let mut pieces: Vec<(u64, &[u8])> = pieces.iter().map(|piece| (1, &piece[..])).collect();
            pieces.extend([(400, &b"\x03"[..]); 4]);
            let events = decode(&pieces);
            prop_assert!(shown(&events).contains("ctrl-c"), "{events:?}");
        }
    }
}

mod replies_and_pastes {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// What comes from a terminal without anybody pressing a key.
    fn segment() -> impl Strategy<Value = Vec<u8>> {
        let reply = || prop::sample::select(REPLIES.to_vec());
        let half = (reply(), any::<prop::sample::Index>()).prop_map(|(reply, at)| {
            // Alone, an Esc would be the key.
            let mut end = 2 + at.index(reply.len() - 2);
            if reply[end - 1] == ESC || reply[0] != ESC {
                end = reply.len();
            }
            reply[..end].to_vec()
        });
        let text = prop_oneof![
            "[a-z\r\n\t]{0,40}".prop_map(String::into_bytes),
            reply().prop_map(<[u8]>::to_vec),
            Just(b"q\x1b[Ay\x03".to_vec()),
        ];
        let paste = text.prop_map(|text| [b"\x1b[200~", &text[..], PASTE_END].concat());
        prop_oneof![
            3 => reply().prop_map(<[u8]>::to_vec),
            2 => half,
            3 => paste,
            1 => prop::sample::select(vec![b"\x1b[I".to_vec(), b"\x1b[O".to_vec()]),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        /// Replies, halves of them and pasted text in any order, torn anywhere on the way: none
        /// of it is a key, and the key that is pressed afterwards is one.
        #[test]
        fn none_of_them_is_a_key(
            segments in vec(segment(), 1..8),
            cuts in vec((0_u64..40, 2_usize..60), 0..60),
        ) {
            let mut bytes = segments.concat();
            // Takes up what a half left open.
            bytes.extend_from_slice(b"\x1b[200~end\x1b[201~");
            let mut rest = bytes.as_slice();
            let mut pieces: Vec<(u64, &[u8])> = Vec::new();
            for (pause, length) in cuts {
                let (piece, after) = rest.split_at(length.min(rest.len()));
                pieces.push((pause, piece));
                rest = after;
            }
            pieces.push((1, rest));
            pieces.push((1_000, b"q"));
            let events = decode(&pieces);
            let keys: Vec<&Event> = events.iter().filter(|event| matches!(event, Event::Key(_))).collect();
            let shown = shown(&keys.into_iter().cloned().collect::<Vec<_>>());
            prop_assert_eq!(shown, "q", "{:?}", events);
        }
    }
}
