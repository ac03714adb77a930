"""Isaac ROS: a launch file that joins its image encoder, TensorRT node and U-Net decoder.

The encoder computes ``(x / 255 - mean) / stddev``; with 0 and 1/255 that is the frame in 0..255
again, and the normalisation inside the graph does the rest. The decoder takes int32 ids
(1, H, W, 1) as ``argmax``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

from export.config.planar import INPUT, OUTPUTS, planar, planar_graph, require_parity
from export.config.subject import Plan, graph_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from export.config.planar import Form
    from export.config.subject import Subject

STDDEV = 1 / 255
FORM: Form = "mask-nhwc"

_LAUNCH = '''\
"""%(name)s (%(hash)s) in Isaac ROS.

ros2 launch ./%(name)s.launch.py image:=/camera/image_raw camera_info:=/camera/camera_info \\\\
    width:=1920 height:=1080

Class ids come out on /unet/raw_segmentation_mask (mono8), colours on
/unet/colored_segmentation_mask. The engine is built beside this file at the first start.
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import ComposableNodeContainer
from launch_ros.descriptions import ComposableNode

CONTAINER = "hyperseg_container"
ENCODER = %(encoder)s
TENSOR_RT = %(tensor_rt)s
DECODER = %(decoder)s


def generate_launch_description():
    here = Path(__file__).resolve().parent
    arguments = [
        DeclareLaunchArgument("image", default_value="/image"),
        DeclareLaunchArgument("camera_info", default_value="/camera_info"),
        DeclareLaunchArgument("width", default_value="1920"),
        DeclareLaunchArgument("height", default_value="1080"),
    ]
    encoders = Path(get_package_share_directory("isaac_ros_dnn_image_encoder"))
    encoder = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(encoders / "launch/dnn_image_encoder.launch.py")),
        launch_arguments={
            **ENCODER,
            "input_image_width": LaunchConfiguration("width"),
            "input_image_height": LaunchConfiguration("height"),
            "image_input_topic": LaunchConfiguration("image"),
            "camera_info_input_topic": LaunchConfiguration("camera_info"),
            "component_container_name": f"/{CONTAINER}",
        }.items(),
    )
    files = {
        "model_file_path": str(here / "%(name)s.onnx"),
        "engine_file_path": str(here / "%(name)s.plan"),
    }
    tensor_rt = ComposableNode(
        name="tensor_rt",
        package="isaac_ros_tensor_rt",
        plugin="nvidia::isaac_ros::dnn_inference::TensorRTNode",
        parameters=[{**TENSOR_RT, **files}],
    )
    decoder = ComposableNode(
        name="unet_decoder",
        package="isaac_ros_unet",
        plugin="nvidia::isaac_ros::unet::UNetDecoderNode",
        parameters=[DECODER],
    )
    container = ComposableNodeContainer(
        name=CONTAINER,
        namespace="",
        package="rclcpp_components",
        executable="component_container_mt",
        composable_node_descriptions=[tensor_rt, decoder],
        output="screen",
    )
    return LaunchDescription([*arguments, container, encoder])
'''


def plan_isaac_ros(subject: Subject) -> Plan:
    """What Isaac ROS needs for the model.

    Raises:
        ArtifactError: it is an engine, or its graph cannot be adapted.
        ParityError: the adapted graph does not agree with the model.
    """
    import onnx

    graph = graph_of(subject, "Isaac ROS")
    made = planar_graph(graph, subject.manifest, subject.head, FORM)
    agreement = require_parity(graph, made, subject.manifest, encoded)

    def save(path: Path) -> None:
        onnx.save(made, str(path))

    notes = [
        f"{subject.name}.onnx takes float32 (1, 3, H, W) of 0..255 and gives int32 (1, H, W, 1), "
        f"as Isaac ROS has them; it agrees in {agreement:.4%} of the pixels"
    ]
    if subject.manifest.preprocess.resize == "letterbox":
        notes.append(
            "the model wants black bars on both sides; Isaac ROS's encoder decides itself where "
            "its padding lies: see that it is centred, or send pictures of the network's shape"
        )
    return Plan(
        files={
            f"{subject.name}.launch.py": launch_text(subject),
            "labels.txt": subject.labels_text,
        },
        binaries={f"{subject.name}.onnx": save},
        notes=notes,
    )


def encoded(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the encoder makes of a (H, W, 3) uint8 frame: float32 (1, 3, H, W)."""
    scaled = planar(frame) / np.float32(255)
    return np.asarray(scaled / np.float32(STDDEV), np.float32)


def launch_text(subject: Subject) -> str:
    """The launch file; its parameters are literals at its top."""
    manifest = subject.manifest
    return _LAUNCH % {
        "name": subject.name,
        "hash": manifest.sha256[:12],
        "encoder": _literal(encoder_arguments(subject)),
        "tensor_rt": _literal(tensor_rt_parameters(manifest.preprocess.color)),
        "decoder": _literal(decoder_parameters(subject)),
    }


def encoder_arguments(subject: Subject) -> dict[str, str]:
    """Arguments of ``dnn_image_encoder.launch.py``, which are text."""
    height, width = subject.manifest.input_size
    preprocess = subject.manifest.preprocess
    return {
        "network_image_width": str(width),
        "network_image_height": str(height),
        "image_mean": str([0.0] * 3),
        "image_stddev": str([STDDEV] * 3),
        # Without padding the encoder would crop what does not have the network's aspect ratio.
        "enable_padding": "True",
        "keep_aspect_ratio": str(preprocess.resize == "letterbox"),
        "encoding_desired": "rgb8" if preprocess.color == "RGB" else "bgr8",
        "final_tensor_name": "input_tensor",
        "tensor_output_topic": "/tensor_pub",
        "attach_to_shared_component_container": "True",
        "dnn_image_encoder_namespace": "hyperseg_encoder",
    }


def tensor_rt_parameters(color: str) -> dict[str, object]:
    """Parameters of the TensorRT node, without its files."""
    order = color.lower()
    return {
        "input_tensor_names": ["input_tensor"],
        "input_binding_names": [INPUT],
        "input_tensor_formats": [f"nitros_tensor_list_nchw_{order}_f32"],
        "output_tensor_names": ["output_tensor"],
        "output_binding_names": [OUTPUTS[FORM]],
        "output_tensor_formats": [f"nitros_tensor_list_nhwc_{order}_f32"],
        "verbose": False,
        "force_engine_update": False,
    }


def decoder_parameters(subject: Subject) -> dict[str, object]:
    """Parameters of the U-Net decoder; a colour is 0xRRGGBB."""
    height, width = subject.manifest.input_size
    return {
        "network_output_type": "argmax",
        "color_segmentation_mask_encoding": "rgb8",
        "mask_width": width,
        "mask_height": height,
        "color_palette": [
            red << 16 | green << 8 | blue for red, green, blue in subject.manifest.labels.palette
        ],
    }


def _literal(parameters: Mapping[str, object]) -> str:
    lines = [f"    {_source(key)}: {_source(value)}," for key, value in parameters.items()]
    return "\n".join(["{", *lines, "}"])


def _source(value: object) -> str:
    """As it stands in a Python file; numbers in a list are colours."""
    if isinstance(value, list):
        items = [f"0x{item:06X}" if isinstance(item, int) else _source(item) for item in value]
        return f"[{', '.join(items)}]"
    return json.dumps(value) if isinstance(value, str) else repr(value)
