"""Package description; dependencies are in package.xml and requirements/."""

from glob import glob
import sys

from setuptools import find_packages, setup

package_name = 'resnet_trt_node'
share = f'share/{package_name}'
# setup.cfg has colcon put the commands where `ros2 run` and launch look; pip asks for a wheel, and
# a wheel's commands go into bin/.
shims = sorted(glob('resource/pip/*')) if {'bdist_wheel', 'sdist'} & {*sys.argv} else []

setup(
    name=package_name,
    version='0.2.0',
    packages=find_packages(include=[package_name, f'{package_name}.*']),
    package_data={package_name: ['backends/cuda/*.cu', 'data/*', 'py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{package_name}']),
        (share, ['package.xml']),
        (f'{share}/launch', sorted(glob('launch/*.launch.py'))),
        (f'{share}/config', sorted(
            path for kind in ('yaml', 'xml', 'json') for path in glob(f'config/*.{kind}'))),
        (f'{share}/engines', ['engines/README.md']),
        (f'lib/{package_name}', shims),
    ],
    python_requires='>=3.9',
    install_requires=['setuptools'],
    extras_require={
        'fleet': ['ray', 'pyarrow', 'fsspec'],
        # CUDA's version is the driver's, which no marker tells. JetPack brings nvJPEG along.
        'gpu-jpeg-cu12': ['nvidia-nvimgcodec-cu12[nvjpeg]>=0.7'],
        'gpu-jpeg-cu13': ['nvidia-nvimgcodec-cu13[nvjpeg]>=0.7'],
        'gpu-jpeg-jetson': ['nvidia-nvimgcodec-tegra-cu12>=0.7'],
        'heic': ['pillow-heif'],
        'safetensors': ['safetensors'],
        'video': ['av'],
    },
    zip_safe=False,
    maintainer='resnet_trt_node maintainers',
    maintainer_email='nobody@resnet-trt-node.invalid',
    description='Image classification for ROS 2 on TensorRT and ONNX Runtime',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            f'classifier_node = {package_name}.node.entry:main',
            f'resnet_trt = {package_name}.cli.main:main',
        ],
        f'{package_name}.backends': [
            f'tvm = {package_name}.backends.tvm.backend:TvmBackend',
        ],
    },
)
