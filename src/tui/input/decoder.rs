//! Bytes of a terminal, cut into keys, mouse reports and pasted text. Only a person's keys
//! are keys: replies that the terminal sends of its own accord (OSC, DCS, APC, PM, SOS, CSI
//! reports) and sequences that are not whole are taken in and act on nothing, whatever
//! letters they are made of. Several characters that come in one piece were not typed but
//! pasted, also where the terminal does not say so.

use std::time::{Duration, Instant};

use crossterm::event::{Event, KeyCode, KeyModifiers};

use super::sequence;

const ESC: u8 = 0x1b;
const BEL: u8 = 7;
const INTERRUPT: u8 = 3;
/// An Esc that nothing follows for so long is the key.
const ALONE: Duration = Duration::from_millis(50);
/// What follows an Esc within this time may be the rest of a sequence that a slow line tore.
const TORN: Duration = Duration::from_millis(500);
/// A single byte after such a pause was typed: text that a terminal sends, or that is
/// pasted, comes in pieces. So nothing that was begun and never ended takes keys for long.
const PAUSE: Duration = Duration::from_millis(300);
/// What follows pasted text within this time belongs to it.
const PIECES: Duration = Duration::from_millis(30);
/// Bytes of parameters; no sequence has more.
const PARAMETERS: usize = 256;
/// Bytes of pasted text that are kept; it goes into a line.
const PASTED: usize = 64 << 10;
/// What ends a paste.
const PASTE_END: &[u8] = b"\x1b[201~";

#[derive(Debug, Default)]
enum State {
    #[default]
    Ground,
    /// Esc came.
    Escape,
    /// Esc was taken for the key, at this time; `paired`: another Esc said so.
    Escaped { at: Instant, paired: bool },
    /// `ESC O`.
    Ss3,
    /// `ESC [` and these parameters.
    Csi(Vec<u8>),
    /// `ESC [ [`.
    Console,
    /// `ESC [ M` and these bytes.
    Mouse(Vec<u8>),
    /// A string of the terminal's, up to its end; after an Esc that may be it.
    Text { escape: bool },
    /// Pasted text.
    Paste(Vec<u8>),
    /// The first bytes of a character.
    Character(Vec<u8>),
}

/// Turns bytes into events.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    state: State,
    /// When something came last.
    last: Option<Instant>,
    /// When text came that nobody typed.
    pasted: Option<Instant>,
    events: Vec<Event>,
}

impl Decoder {
    /// What so many bytes are that came in one piece.
    pub(super) fn feed(&mut self, bytes: &[u8], now: Instant) -> Vec<Event> {
        let pause = self
            .last
            .is_some_and(|last| now.duration_since(last) >= PAUSE);
        self.last = Some(now);
        if pause && bytes.len() == 1 && matches!(self.state, State::Text { .. } | State::Paste(_)) {
            self.state = State::Ground;
        }
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            let text = self.untyped(rest, now);
            if text.is_empty() {
                self.take(*byte, !after.is_empty(), now);
                rest = after;
            } else {
                rest = rest.get(text.len()..).unwrap_or_default();
                self.pasted = Some(now);
                self.events.push(Event::Paste(text.to_owned()));
            }
        }
        std::mem::take(&mut self.events)
    }

    /// The text at the beginning of a piece that nobody typed: several characters at once, of
    /// which one that repeats is a key that is held down, or what follows such text.
    fn untyped<'b>(&self, bytes: &'b [u8], now: Instant) -> &'b str {
        if !matches!(self.state, State::Ground) {
            return "";
        }
        let is_text = |byte: &u8| matches!(byte, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
        let end = bytes.iter().position(|byte| !is_text(byte));
        let bytes = bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default();
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => bytes
                .get(..error.valid_up_to())
                .and_then(|valid| std::str::from_utf8(valid).ok())
                .unwrap_or_default(),
        };
        // Introducers of sequences in one byte.
        let end = text
            .find(|c| ('\u{80}'..='\u{9f}').contains(&c))
            .unwrap_or(text.len());
        let text = text.get(..end).unwrap_or_default();
        let mut characters = text.chars();
        let first = characters.next();
        // Tab and Enter alone are keys that came late.
        let printable = text.chars().any(|c| !c.is_control());
        let several = printable && characters.any(|c| Some(c) != first);
        let goes_on = self
            .pasted
            .is_some_and(|at| now.duration_since(at) < PIECES);
        if several || goes_on { text } else { "" }
    }

    /// When [`Self::silence`] has something to say.
    pub(super) fn due(&self) -> Option<Instant> {
        matches!(self.state, State::Escape).then_some(self.last? + ALONE)
    }

    /// Nothing came until now.
    pub(super) fn silence(&mut self, now: Instant) -> Vec<Event> {
        if self.due().is_some_and(|due| due <= now) {
            self.key(KeyCode::Esc);
            self.state = State::Escaped {
                at: now,
                paired: false,
            };
        }
        std::mem::take(&mut self.events)
    }

    fn key(&mut self, code: KeyCode) {
        self.events.push(sequence::press(code, KeyModifiers::NONE));
    }

    fn take(&mut self, byte: u8, more: bool, now: Instant) {
        self.state = match std::mem::take(&mut self.state) {
            State::Ground => self.ground(byte),
            State::Escape => self.escape(byte, now),
            State::Escaped { at, paired } => {
                let torn = more || now.duration_since(at) < TORN;
                match byte {
                    b'[' | b'O' if paired && more => self.escape(byte, now),
                    b'[' | b'O' | b']' | b'P' | b'_' | b'^' | b'X' if !paired && torn => {
                        self.escape(byte, now)
                    }
                    // The end of a string, torn off.
                    b'\\' if !paired && torn => State::Ground,
                    byte => self.ground(byte),
                }
            }
            State::Ss3 => match byte {
                ESC => State::Escape,
                INTERRUPT => self.ground(byte),
                // A modifier, as some terminals put it in.
                b'0'..=b'9' => State::Ss3,
                0x80.. => introduced(u32::from(byte)),
                byte => {
                    self.events.extend(sequence::ss3(byte));
                    State::Ground
                }
            },
            State::Csi(parameters) => self.csi(parameters, byte),
            State::Console => match byte {
                ESC => State::Escape,
                0x80.. => introduced(u32::from(byte)),
                byte => {
                    self.events.extend(sequence::console(byte));
                    State::Ground
                }
            },
            State::Mouse(mut bytes) => {
                bytes.push(byte);
                if let Ok(report) = <[u8; 3]>::try_from(bytes.as_slice()) {
                    self.events.extend(sequence::old_mouse(report));
                    State::Ground
                } else {
                    State::Mouse(bytes)
                }
            }
            State::Text { escape } => self.text(escape, byte, now),
            State::Paste(mut text) => {
                text.push(byte);
                if text.ends_with(PASTE_END) {
                    text.truncate(text.len() - PASTE_END.len());
                    let text = String::from_utf8_lossy(&text).into_owned();
                    self.events.push(Event::Paste(text));
                    State::Ground
                } else {
                    if text.len() > PASTED + PASTE_END.len() {
                        // The end is still recognised; what is cut out was too much.
                        text.drain(PASTED..=PASTED);
                    }
                    State::Paste(text)
                }
            }
            State::Character(bytes) => self.character(bytes, byte),
        };
    }

    fn ground(&mut self, byte: u8) -> State {
        match byte {
            ESC => State::Escape,
            0..=0x7f => {
                self.events.push(sequence::character(char::from(byte)));
                State::Ground
            }
            0xc2..=0xf4 => State::Character(vec![byte]),
            // The same introducers in one byte, from a terminal that sends eight bits.
            byte => introduced(u32::from(byte)),
        }
    }

    fn escape(&mut self, byte: u8, now: Instant) -> State {
        match byte {
            b'[' => State::Csi(Vec::new()),
            b'O' => State::Ss3,
            b']' | b'P' | b'_' | b'^' | b'X' => State::Text { escape: false },
            ESC => {
                self.key(KeyCode::Esc);
                State::Escaped {
                    at: now,
                    paired: true,
                }
            }
            0x80.. => introduced(u32::from(byte)),
            byte => {
                if let Event::Key(mut key) = sequence::character(char::from(byte)) {
                    key.modifiers |= KeyModifiers::ALT;
                    self.events.push(Event::Key(key));
                }
                State::Ground
            }
        }
    }

    fn csi(&mut self, mut parameters: Vec<u8>, byte: u8) -> State {
        match byte {
            ESC => State::Escape,
            INTERRUPT => self.ground(byte),
            b'[' if parameters.is_empty() => State::Console,
            b'M' if parameters.is_empty() => State::Mouse(Vec::new()),
            0x20..=0x3f => {
                if parameters.len() < PARAMETERS {
                    parameters.push(byte);
                }
                State::Csi(parameters)
            }
            b'~' if parameters == b"200" => State::Paste(Vec::new()),
            0x40..=0x7e => {
                self.events.extend(sequence::csi(&parameters, byte));
                State::Ground
            }
            // The next sequence, which breaks this one off.
            0x80.. => introduced(u32::from(byte)),
            // Neither a parameter nor an end: the sequence is broken off.
            _ => State::Ground,
        }
    }

    fn text(&mut self, escape: bool, byte: u8, now: Instant) -> State {
        match (escape, byte) {
            // Not 0x9c: in UTF-8 it is a part of a character.
            (_, BEL) | (true, b'\\') => State::Ground,
            // Nobody sends it in a string: somebody wants to leave.
            (_, INTERRUPT) => self.ground(byte),
            (false, ESC) => State::Text { escape: true },
            // The string was broken off by what follows.
            (true, byte) => self.escape(byte, now),
            (false, _) => State::Text { escape: false },
        }
    }

    fn character(&mut self, mut bytes: Vec<u8>, byte: u8) -> State {
        if !(0x80..=0xbf).contains(&byte) {
            // The first part of a character that never came whole.
            return self.ground(byte);
        }
        bytes.push(byte);
        match std::str::from_utf8(&bytes) {
            Ok(text) => {
                let Some(c) = text.chars().next() else {
                    return State::Ground;
                };
                if c.is_control() {
                    return introduced(u32::from(c));
                }
                self.events.push(sequence::character(c));
                State::Ground
            }
            Err(error) if error.error_len().is_none() => State::Character(bytes),
            Err(_) => State::Ground,
        }
    }
}

/// What begins with a control character of the upper half.
fn introduced(control: u32) -> State {
    match control {
        0x8f => State::Ss3,
        0x9b => State::Csi(Vec::new()),
        0x90 | 0x98 | 0x9d | 0x9e | 0x9f => State::Text { escape: false },
        _ => State::Ground,
    }
}

#[cfg(test)]
mod tests;
