#!/usr/bin/env python3
"""Networks of keras.applications as ONNX files, with seeded random weights: one converter's real work, for `supported_models.py --files`.

    VENV/bin/python tests/models/keras_exports.py FOLDER [--opset 15] [NAME ...]

Needs tensorflow-cpu and tf2onnx from PyPI.
"""
import argparse
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import keras  # noqa: E402
import tf2onnx  # noqa: E402

# EfficientNets and ConvNeXts are not here: their normalisation's constants become inputs of the file this way.
# name: size of the picture, the smallest that keeps every layer at work
NETWORKS = {"MobileNet": 96, "MobileNetV2": 96, "MobileNetV3Small": 96, "DenseNet121": 96,
            "NASNetMobile": 224, "ResNet50V2": 96, "InceptionV3": 139, "Xception": 96, "VGG16": 64}


def redraw(net):
    """Statistics and scales of normalisations that are not the identity."""
    random = np.random.default_rng(0)
    for weight in net.weights:
        name, shape = weight.path, weight.shape
        if "gamma" in name:
            weight.assign(random.uniform(0.6, 1.4, shape))
        elif "beta" in name or name.endswith("bias"):
            weight.assign(random.normal(0, 0.2, shape))
        elif "moving_mean" in name:
            weight.assign(random.normal(0, 0.3, shape))
        elif "moving_variance" in name:
            weight.assign(random.uniform(0.5, 1.5, shape))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("names", nargs="*", help=" ".join(NETWORKS))
    parser.add_argument("--opset", type=int, default=15)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for name in args.names or NETWORKS:
        keras.utils.set_random_seed(0)
        size = NETWORKS[name]
        net = getattr(keras.applications, name)(weights=None, input_shape=(size, size, 3), classes=20)
        redraw(net)
        path = args.folder / f"keras-{name}.onnx"
        call = tf.function(lambda x, net=net: net(x, training=False), input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32, "image")])
        try:
            tf2onnx.convert.from_function(call, input_signature=call.input_signature, opset=args.opset, output_path=str(path))
            print(path, flush=True)
        except Exception as error:
            print(f"{name}: {str(error).splitlines()[0]}", flush=True)


if __name__ == "__main__":
    main()
