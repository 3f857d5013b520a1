/** Colours unlike the ones before them, as `sam_edge/formats/colours.py` chooses them. */
export type Rgb = readonly [number, number, number];

const GOLDEN_ANGLE = Math.PI * (3 - Math.sqrt(5));
const LIGHTNESS = [0.72, 0.84, 0.62, 0.78];
const CHROMA = 0.17;

/** The colour of a number from 0 on: hues turn by the golden angle, in OKLab. */
export function colour(number: number): Rgb {
  const hue = number * GOLDEN_ANGLE + 0.6;
  const [l, a, b] = [LIGHTNESS[number % 4], CHROMA * Math.cos(hue), CHROMA * Math.sin(hue)];
  // https://bottosson.github.io/posts/oklab/
  const cone = [
    (l + 0.3963377774 * a + 0.2158037573 * b) ** 3,
    (l - 0.1055613458 * a - 0.0638541728 * b) ** 3,
    (l - 0.0894841775 * a - 1.291485548 * b) ** 3,
  ];
  const rgb = [
    4.0767416621 * cone[0] - 3.3077115913 * cone[1] + 0.2309699292 * cone[2],
    -1.2684380046 * cone[0] + 2.6097574011 * cone[1] - 0.3413193965 * cone[2],
    -0.0041960863 * cone[0] - 0.7034186147 * cone[1] + 1.7076147010 * cone[2],
  ];
  const [red, green, blue] = rgb.map((value) => {
    const linear = Math.min(1, Math.max(0, value));
    const encoded = linear <= 0.0031308 ? 12.92 * linear : 1.055 * linear ** (1 / 2.4) - 0.055;
    return Math.round(255 * encoded);
  });
  return [red, green, blue];
}

export function css([red, green, blue]: Rgb): string {
  return `rgb(${red} ${green} ${blue})`;
}
