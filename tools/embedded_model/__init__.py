# SPDX-License-Identifier: Apache-2.0
"""The embedded model: its text generator, tokenizer, training and checks."""
