/**
 * A photo's pixels as its file has them: upright, no colours converted, and the colour of what is
 * transparent as well, as sam-edge reads photos. Given by stripes: forty million pixels are 160 MB.
 */
import { ApiError } from "../api/errors";

export interface PixelSource {
  readonly width: number;
  readonly height: number;
  /** RGBA of `count` rows from `top` on. */
  rows(top: number, count: number): Uint8Array | Uint8ClampedArray;
}

/** How many rows to ask for at once. */
export const STRIPE = 256;

/** A canvas holds colours multiplied by their alpha, so that what they were is lost. */
class TransparentError extends Error {}

export async function withPixels<T>(photo: Blob, use: (source: PixelSource) => T): Promise<T> {
  const bitmap = await createImageBitmap(photo, {
    colorSpaceConversion: "none",
    premultiplyAlpha: "none",
  }).catch(() => {
    throw new ApiError(422, "bad_photo", "this browser cannot read it as a photo");
  });
  try {
    return use(onCanvas(bitmap));
  } catch (error) {
    if (!(error instanceof TransparentError)) throw error;
    return use(await byWebGl(bitmap));
  } finally {
    bitmap.close();
  }
}

function onCanvas(bitmap: ImageBitmap): PixelSource {
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, Math.min(STRIPE, height));
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  context.imageSmoothingEnabled = false;
  context.globalCompositeOperation = "copy";
  return {
    width,
    height,
    rows(top, count) {
      context.drawImage(bitmap, 0, top, width, count, 0, 0, width, count);
      const { data } = context.getImageData(0, 0, width, count);
      for (let at = 3; at < data.length; at += 4) if (data[at] !== 255) throw new TransparentError();
      return data;
    },
  };
}

/** Textures keep colours and alpha apart. */
async function byWebGl(bitmap: ImageBitmap): Promise<PixelSource> {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  const most = gl ? (gl.getParameter(gl.MAX_TEXTURE_SIZE) as number) : 0;
  if (!gl || width > most) {
    throw new ApiError(422, "bad_photo", "this browser cannot read photos with transparency; save it as JPEG");
  }
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  const texture = gl.createTexture();
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  const stripes: ImageBitmap[] = [];
  for (let top = 0; top < height; top += STRIPE) {
    const options = { premultiplyAlpha: "none", colorSpaceConversion: "none" } as const;
    stripes.push(await createImageBitmap(bitmap, 0, top, width, Math.min(STRIPE, height - top), options));
  }
  return {
    width,
    height,
    rows(top, count) {
      const data = new Uint8Array(4 * width * count);
      for (let y = top; y < top + count; ) {
        const stripe = stripes[Math.floor(y / STRIPE)];
        const skip = y % STRIPE;
        const taken = Math.min(stripe.height - skip, top + count - y);
        gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, stripe);
        gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
        gl.readPixels(0, skip, width, taken, gl.RGBA, gl.UNSIGNED_BYTE, data, 4 * width * (y - top));
        y += taken;
      }
      return data;
    },
  };
}
