#!/usr/bin/env python3
"""Makes the models of the tests, which are small enough to be kept: needs the Python packages onnx and numpy.

Each looks at a picture of 64x48 in 8x6 cells of 8x8 pixels: a cell's score is its mean brightness, 0 to 1.
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
