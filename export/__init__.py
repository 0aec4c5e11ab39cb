"""Core ML packages: conversion, execution from the saved file, verification."""
