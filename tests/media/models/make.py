#!/usr/bin/env python3
"""Makes the models of the tests, which are small enough to be kept: needs the Python packages onnx and numpy.

The first ones look at a picture of 64x48 in 8x6 cells of 8x8 pixels: a cell's score is its mean brightness, 0 to 1.
"""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WIDTH, HEIGHT, CELL = 64, 48, 8
COLUMNS, ROWS = WIDTH // CELL, HEIGHT // CELL
CELLS = COLUMNS * ROWS
FLOAT = TensorProto.FLOAT


def constant(name, values, kind=np.float32):
    return numpy_helper.from_array(np.asarray(values, dtype=kind), name)


def save(name, nodes, outputs, constants, shape=(1, 3, HEIGHT, WIDTH)):
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info('images', FLOAT, shape)],
        [helper.make_tensor_value_info(n, FLOAT, s) for n, s in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, f'{name}.onnx')


# The mean of a cell, over colours.
kernel = constant('kernel', np.full((1, 3, CELL, CELL), 1 / (3 * CELL * CELL)))
brightness = [
    helper.make_node('Conv', ['images', 'kernel'], ['cells'], kernel_shape=[CELL, CELL], strides=[CELL, CELL]),
    helper.make_node('Reshape', ['cells', 'row'], ['scores']),
]
row = constant('row', [1, CELLS, 1], np.int64)

centers = [
    (column * CELL + CELL / 2, line * CELL + CELL / 2, CELL, CELL) for line in range(ROWS) for column in range(COLUMNS)
]
corners = [
    (line / ROWS, column / COLUMNS, (line + 1) / ROWS, (column + 1) / COLUMNS)
    for line in range(ROWS) for column in range(COLUMNS)
]

# Boxes (center and size, in pixels), whether there is something, and its classes: dark and bright.
dark = [helper.make_node('Sub', ['one', 'scores'], ['dark'])]
save(
    'yolo',
    brightness + dark + [helper.make_node('Concat', ['boxes', 'ones', 'dark', 'scores'], ['output'], axis=2)],
    [('output', (1, CELLS, 7))],
    [kernel, row, constant('one', 1), constant('ones', np.ones((1, CELLS, 1))), constant('boxes', [centers])],
)
# The same turned over, without the one number for whether there is something, as of YOLO's version 8 on.
save(
    'yolo8',
    brightness + dark + [
        helper.make_node('Concat', ['boxes', 'dark', 'scores'], ['rows'], axis=2),
        helper.make_node('Transpose', ['rows'], ['output'], perm=[0, 2, 1]),
    ],
    [('output', (1, 6, CELLS))],
    [kernel, row, constant('one', 1), constant('boxes', [centers])],
)
# Boxes (top, left, low end, right end, as parts of the picture) and scores of the classes beside them.
save(
    'ssd',
    brightness + dark + [
        helper.make_node('Mul', ['scores', 'zero'], ['nothing']),
        helper.make_node('Add', ['corners', 'nothing'], ['boxes']),
        helper.make_node('Concat', ['dark', 'scores'], ['classes'], axis=2),
    ],
    [('boxes', (1, CELLS, 4)), ('classes', (1, CELLS, 2))],
    [kernel, row, constant('one', 1), constant('zero', 0), constant('corners', [corners])],
)
# How much there is of each colour.
save(
    'colours',
    [
        helper.make_node('GlobalAveragePool', ['images'], ['means']),
        helper.make_node('Flatten', ['means'], ['output']),
    ],
    [('output', (1, 3))],
    [],
)

# Faces, as a YuNet model gives them, of a picture of 320x256 in pixels from 0 to 255: bright squares of 32 pixels are some.
WIDE, HIGH = 320, 256
nodes, outputs, constants = [], [], [constant('nil', 0)]
for stride in (8, 16, 32):
    cells = (WIDE // stride) * (HIGH // stride)
    weight = 1 / (3 * stride * stride * 255) if stride == 32 else 0
    constants += [
        constant(f'kernel_{stride}', np.full((1, 3, stride, stride), weight)),
        constant(f'row_{stride}', [1, cells, 1], np.int64),
        constant(f'box_{stride}', np.tile([0.5, 0.5, 0, 0], (1, cells, 1))),
        constant(f'points_{stride}', np.tile([0.25, 0.375, 0.75, 0.375] + 6 * [0.5], (1, cells, 1))),
    ]
    sizes = {'kernel_shape': [stride, stride], 'strides': [stride, stride]}
    nodes += [
        helper.make_node('Conv', ['images', f'kernel_{stride}'], [f'cells_{stride}'], **sizes),
        helper.make_node('Reshape', [f'cells_{stride}', f'row_{stride}'], [f'cls_{stride}']),
        helper.make_node('Mul', [f'cls_{stride}', 'nil'], [f'nothing_{stride}']),
        helper.make_node('Add', [f'cls_{stride}', 'nil'], [f'obj_{stride}']),
        helper.make_node('Add', [f'box_{stride}', f'nothing_{stride}'], [f'bbox_{stride}']),
        helper.make_node('Add', [f'points_{stride}', f'nothing_{stride}'], [f'kps_{stride}']),
    ]
    outputs += [(f'{name}_{stride}', (1, cells, n)) for name, n in (('cls', 1), ('obj', 1), ('bbox', 4), ('kps', 10))]
save('yunet', nodes, outputs, constants, (1, 3, HIGH, WIDE))

# A vector for a face: how bright its 16x16 parts are, beside their mean.
save(
    'alike',
    [
        helper.make_node('Conv', ['images', 'part'], ['parts'], kernel_shape=[4, 4], strides=[4, 4]),
        helper.make_node('Flatten', ['parts'], ['row']),
        helper.make_node('ReduceMean', ['row'], ['mean'], axes=[1], keepdims=1),
        helper.make_node('Sub', ['row', 'mean'], ['vector']),
    ],
    [('vector', (1, 256))],
    [constant('part', np.full((1, 3, 4, 4), 1 / 48))],
    (1, 3, 64, 64),
)
