//! Colours. They mean health and nothing else; bars have one hue. Each theme says
//! every role in 24-bit, 256 and 16 colours, so that it degrades on purpose rather
//! than by rounding; without colours only bold, dim and reversed text remain.

use ratatui::style::{Color, Modifier, Style};
use strum::{EnumIter, EnumString, IntoEnumIterator, IntoStaticStr};

use crate::health::Severity;

/// A set of colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub(crate) enum Palette {
    /// For dark terminals.
    Dark,
    /// For light terminals.
    Light,
    /// Pure colours on black.
    HighContrast,
    /// Health distinguished with every kind of colour vision.
    ColourBlind,
}

/// How many colours the terminal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// None, or none wanted.
    None,
    /// The first 8 named ones.
    Ansi8,
    /// The 16 named ones.
    Ansi16,
    /// The 256-colour palette.
    Ansi256,
    /// 24 bits.
    True,
}

/// What a piece of the screen is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter)]
pub(crate) enum Role {
    /// Figures and names.
    Text,
    /// Units, labels, times.
    Dim,
    /// Titles of panes.
    Title,
    /// The rule next to a title.
    Rule,
    /// Full segment of a bar, gauges, sparklines.
    Bar,
    /// Partial segment of a bar.
    Partial,
    /// The part of the full segment that is within its confidence interval.
    Uncertain,
    /// The rest of a bar.
    Rest,
    /// All is well.
    Healthy,
    /// Somebody should look.
    Warning,
    /// Somebody must look.
    Critical,
    /// The selected row of the focused pane.
    Selected,
    /// A key that can be pressed.
    Key,
}

impl From<Severity> for Role {
    fn from(severity: Severity) -> Self {
        match severity {
            Severity::Healthy => Self::Healthy,
            Severity::Warning => Self::Warning,
            Severity::Critical => Self::Critical,
        }
    }
}

/// A palette on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Theme {
    /// The colours.
    pub palette: Palette,
    /// How many the terminal has.
    pub depth: Depth,
}

/// 24-bit, 256 and 16 colours of one hue.
type Hue = ((u8, u8, u8), u8, Color);

const GREY: Hue = ((138, 138, 138), 245, Color::DarkGray);
const FAINT: Hue = ((88, 88, 88), 240, Color::DarkGray);

impl Palette {
    /// Every name, for messages.
    pub(crate) fn names() -> String {
        Self::iter()
            .map(Into::<&str>::into)
            .collect::<Vec<_>>()
            .join(", ")
    }

    fn hue(self, role: Role) -> Option<Hue> {
        use Palette::{ColourBlind, Dark, HighContrast, Light};
        use Role::{
            Bar, Critical, Dim, Healthy, Key, Partial, Rest, Rule, Selected, Text, Title,
            Uncertain, Warning,
        };
        Some(match (self, role) {
            (_, Text | Title | Key | Selected) => return None,
            (HighContrast, Dim | Rule | Rest) => ((208, 208, 208), 252, Color::Gray),
            (HighContrast, Bar | Partial | Uncertain) => ((255, 255, 255), 231, Color::White),
            (HighContrast, Healthy) => ((0, 255, 0), 46, Color::LightGreen),
            (HighContrast, Warning) => ((255, 255, 0), 226, Color::LightYellow),
            (HighContrast, Critical) => ((255, 128, 128), 210, Color::LightRed),
            (Light, Dim) => ((100, 100, 100), 241, Color::DarkGray),
            (Light, Rule | Rest) => ((168, 168, 168), 248, Color::Gray),
            (Light, Bar) => ((52, 101, 150), 24, Color::Blue),
            (Light, Partial) => ((104, 146, 186), 67, Color::Blue),
            (Light, Uncertain) => ((126, 162, 198), 110, Color::Cyan),
            (Light, Healthy) => ((40, 120, 50), 28, Color::Green),
            (Light, Warning) => ((160, 98, 0), 130, Color::Yellow),
            (Light, Critical) => ((190, 30, 40), 124, Color::Red),
            (_, Dim) => GREY,
            (_, Rule | Rest) => FAINT,
            (Dark, Bar) => ((126, 166, 204), 110, Color::Cyan),
            (Dark, Partial) => ((88, 122, 156), 67, Color::Cyan),
            (Dark, Uncertain) => ((92, 124, 158), 67, Color::Blue),
            (Dark, Healthy) => ((128, 186, 116), 107, Color::Green),
            (Dark, Warning) => ((226, 178, 88), 179, Color::Yellow),
            (Dark, Critical) => ((236, 104, 98), 203, Color::LightRed),
            // Okabe and Ito's sky blue, yellow and (brighter) vermilion; bars stay neutral.
            (ColourBlind, Bar) => ((190, 190, 190), 250, Color::Gray),
            (ColourBlind, Partial | Uncertain) => ((140, 140, 140), 245, Color::DarkGray),
            (ColourBlind, Healthy) => ((86, 180, 233), 74, Color::LightBlue),
            (ColourBlind, Warning) => ((240, 228, 66), 227, Color::LightYellow),
            (ColourBlind, Critical) => ((230, 97, 0), 202, Color::Red),
        })
    }

    /// Behind the selected row, where there are enough colours to be subtle.
    fn selection(self) -> Hue {
        match self {
            Self::Light => ((226, 232, 238), 254, Color::Reset),
            Self::HighContrast => ((60, 60, 60), 238, Color::Reset),
            Self::Dark | Self::ColourBlind => ((46, 50, 56), 236, Color::Reset),
        }
    }
}

impl Theme {
    /// How a role looks.
    pub(crate) fn style(self, role: Role) -> Style {
        let mut style = Style::new();
        if let Some(colour) = self.palette.hue(role).and_then(|hue| self.colour(hue)) {
            style = style.fg(colour);
        }
        match role {
            Role::Title | Role::Critical | Role::Key => style.add_modifier(Modifier::BOLD),
            Role::Selected => match self.colour(self.palette.selection()) {
                Some(colour) if colour != Color::Reset => {
                    style.bg(colour).add_modifier(Modifier::BOLD)
                }
                _ => style.add_modifier(Modifier::BOLD),
            },
            Role::Uncertain | Role::Rest if self.depth == Depth::None => {
                style.add_modifier(Modifier::DIM)
            }
            _ => style,
        }
    }

    /// Bar hue in shades, for the background of a heatmap's cell: 0 is none, 1 is full.
    /// High rates differ more than low ones, since most cells of a good model are high.
    pub(crate) fn shade(self, strength: f64) -> Style {
        let Some(((r, g, b), ..)) = self
            .palette
            .hue(Role::Bar)
            .filter(|_| self.depth == Depth::True)
        else {
            return Style::new();
        };
        let ground: f64 = if self.palette == Palette::Light {
            255.0
        } else {
            24.0
        };
        let mix = |c: u8| {
            (ground + (f64::from(c) - ground) * 0.65 * strength.clamp(0.0, 1.0).powi(2)) as u8
        };
        Style::new().bg(Color::Rgb(mix(r), mix(g), mix(b)))
    }

    fn colour(self, ((r, g, b), indexed, named): Hue) -> Option<Color> {
        match self.depth {
            Depth::None => None,
            Depth::Ansi8 => Some(dark(named)),
            Depth::Ansi16 => Some(named),
            Depth::Ansi256 => Some(Color::Indexed(indexed)),
            Depth::True => Some(Color::Rgb(r, g, b)),
        }
    }
}

impl Depth {
    /// What the environment says: `NO_COLOR`, `COLORTERM`, `TERM`.
    pub(crate) fn detect(variable: impl Fn(&str) -> Option<String>) -> Self {
        let term = variable("TERM").unwrap_or_default();
        if variable("NO_COLOR").is_some_and(|v| !v.is_empty()) || term == "dumb" {
            return Self::None;
        }
        match variable("COLORTERM").as_deref() {
            // The kernel's console, and what came before it; COLORTERM is of the terminal that
            // somebody came from.
            _ if matches!(term.as_str(), "linux" | "ansi" | "cygwin") => Self::Ansi8,
            _ if term.starts_with("vt") && !term.contains("color") => Self::None,
            Some("truecolor" | "24bit") => Self::True,
            _ if term.contains("direct") => Self::True,
            _ if term.contains("256color") => Self::Ansi256,
            _ => Self::Ansi16,
        }
    }
}

/// The one of the first eight colours that is nearest.
fn dark(colour: Color) -> Color {
    match colour {
        Color::LightRed => Color::Red,
        Color::LightGreen => Color::Green,
        Color::LightYellow => Color::Yellow,
        Color::LightBlue => Color::Blue,
        Color::LightMagenta => Color::Magenta,
        Color::LightCyan => Color::Cyan,
        Color::DarkGray | Color::White => Color::Gray,
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        |name| {
            pairs
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned())
        }
    }

    #[test]
    fn depth_follows_the_environment() {
        assert_eq!(
            Depth::detect(env(&[("TERM", "xterm-256color")])),
            Depth::Ansi256
        );
        assert_eq!(
            Depth::detect(env(&[
                ("TERM", "xterm-256color"),
                ("COLORTERM", "truecolor")
            ])),
            Depth::True
        );
        assert_eq!(Depth::detect(env(&[("TERM", "linux")])), Depth::Ansi8);
        assert_eq!(Depth::detect(env(&[("TERM", "vt100")])), Depth::None);
        for (term, depth) in [("vt100", Depth::None), ("linux", Depth::Ansi8)] {
            let inherited = [("TERM", term), ("COLORTERM", "truecolor")];
            assert_eq!(Depth::detect(env(&inherited)), depth, "{term}");
        }
        assert_eq!(Depth::detect(env(&[("TERM", "screen")])), Depth::Ansi16);
        assert_eq!(
            Depth::detect(env(&[("TERM", "xterm-256color"), ("NO_COLOR", "1")])),
            Depth::None
        );
        assert_eq!(
            Depth::detect(env(&[("TERM", "xterm"), ("NO_COLOR", "")])),
            Depth::Ansi16
        );
    }

    #[test]
    fn without_colours_nothing_is_coloured() {
        for palette in Palette::iter() {
            for role in Role::iter() {
                let style = Theme {
                    palette,
                    depth: Depth::None,
                }
                .style(role);
                assert_eq!((style.fg, style.bg), (None, None), "{palette:?} {role:?}");
            }
        }
    }

    #[test]
    fn health_is_distinguished_in_every_palette() {
        for palette in Palette::iter() {
            for depth in [Depth::Ansi8, Depth::Ansi16, Depth::Ansi256, Depth::True] {
                let of = |role| Theme { palette, depth }.style(role).fg;
                assert_ne!(
                    of(Role::Healthy),
                    of(Role::Warning),
                    "{palette:?} {depth:?}"
                );
                assert_ne!(
                    of(Role::Warning),
                    of(Role::Critical),
                    "{palette:?} {depth:?}"
                );
            }
        }
    }

    /// Rows of a matrix that turns linear RGB into what somebody sees who lacks a kind of
    /// cones. Machado, Oliveira and Fernandes 2009, "A Physiologically-based Model for
    /// Simulation of Color Vision Deficiency", severity 1.
    const VISIONS: [(&str, [[f64; 3]; 3]); 4] = [
        ("all", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        (
            "protanopia",
            [
                [0.152_286, 1.052_583, -0.204_868],
                [0.114_503, 0.786_281, 0.099_216],
                [-0.003_882, -0.048_116, 1.051_998],
            ],
        ),
        (
            "deuteranopia",
            [
                [0.367_322, 0.860_646, -0.227_968],
                [0.280_085, 0.672_501, 0.047_413],
                [-0.011_820, 0.042_940, 0.968_881],
            ],
        ),
        (
            "tritanopia",
            [
                [1.255_528, -0.076_749, -0.178_779],
                [-0.078_411, 0.930_809, 0.147_602],
                [0.004_733, 0.691_367, 0.303_900],
            ],
        ),
    ];

    /// sRGB made linear.
    fn linear((r, g, b): (u8, u8, u8)) -> [f64; 3] {
        [r, g, b].map(|c| {
            let c = f64::from(c) / 255.0;
            if c <= 0.040_45 {
                c / 12.92
            } else {
                ((c + 0.055) / 1.055).powf(2.4)
            }
        })
    }

    /// Relative luminance of linear RGB.
    fn luminance([r, g, b]: [f64; 3]) -> f64 {
        0.2126 * r + 0.7152 * g + 0.0722 * b
    }

    /// CIE L*a*b* of linear RGB.
    fn lab(rgb: [f64; 3]) -> [f64; 3] {
        let rgb = rgb.map(|c| c.clamp(0.0, 1.0));
        let of = |[red, green, blue]: [f64; 3]| {
            let t = red * rgb[0] + green * rgb[1] + blue * rgb[2];
            if t > 0.008_856 {
                t.cbrt()
            } else {
                7.787 * t + 16.0 / 116.0
            }
        };
        let x = of([0.4124 / 0.9505, 0.3576 / 0.9505, 0.1805 / 0.9505]);
        let y = of([0.2126, 0.7152, 0.0722]);
        let z = of([0.0193 / 1.089, 0.1192 / 1.089, 0.9505 / 1.089]);
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }

    #[test]
    fn health_is_distinguished_with_every_kind_of_colour_vision() {
        let health = [Role::Healthy, Role::Warning, Role::Critical];
        for (vision, matrix) in VISIONS {
            let seen = health.map(|role| {
                let rgb = linear(Palette::ColourBlind.hue(role).unwrap().0);
                lab(matrix.map(|row| row.iter().zip(rgb).map(|(m, c)| m * c).sum()))
            });
            for (a, b) in [(0, 1), (0, 2), (1, 2)] {
                let distance: f64 = seen[a]
                    .iter()
                    .zip(seen[b])
                    .map(|(p, q)| (p - q).powi(2))
                    .sum::<f64>()
                    .sqrt();
                assert!(
                    distance > 25.0,
                    "{vision}: {:?} and {:?} are {distance:.0} apart",
                    health[a],
                    health[b]
                );
            }
        }
    }

    #[test]
    fn words_stand_out_from_the_ground() {
        for palette in Palette::iter() {
            let ground = if palette == Palette::Light {
                (255, 255, 255)
            } else {
                (20, 22, 27)
            };
            for role in [Role::Dim, Role::Healthy, Role::Warning, Role::Critical] {
                let pair =
                    [palette.hue(role).unwrap().0, ground].map(|c| luminance(linear(c)) + 0.05);
                // The ratio that WCAG 2 asks of text, and of text for those who see little.
                let least = if palette == Palette::HighContrast {
                    7.0
                } else {
                    4.5
                };
                let ratio = pair[0].max(pair[1]) / pair[0].min(pair[1]);
                assert!(ratio >= least, "{palette:?} {role:?}: {ratio:.1}");
            }
        }
    }
}
